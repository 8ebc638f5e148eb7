"""The settings of a process that a task may change and that can be restored: how each is read and written.

Every setting is quick to read, because all are read after every task. Values that take long to read are watched instead
(:mod:`.noted_calls`). Settings of modules that few tasks use are in :mod:`.module_settings`, and are read once the
module is imported.
"""

import copyreg
import gc
import logging
import multiprocessing.context
import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

from scaler_notebook.protocol.settings import ENVIRONMENT, FILTERS, LOG_LEVEL, PATH, RECURSION

from .expressions import Expression

T = TypeVar("T")

_environment: Any = os.environ
_path, _meta_path, _path_hooks = sys.path, sys.meta_path, sys.path_hooks
_sys_names = vars(sys)  # a name that is not there costs 0.8 microseconds by getattr
_reducers: dict[Any, Any] = copyreg.dispatch_table
_start_methods: Any = multiprocessing.context._default_context
_main_thread = threading.main_thread()


class CannotRestoreError(Exception):
    """A setting cannot be restored: the process is of no use to the next task. Raised by :attr:`Setting.write`."""


def _the_later(wanted: Any, before: Any, after: Any) -> Any:
    return after


class Setting(NamedTuple):
    """One setting of this process.

    Parameters
    ----------
    name
        The name by which a client's own value of the setting is known.
    read
        Returns the current value, which later changes do not touch; values are compared with ``==``.
    write
        Sets a value that ``read`` has returned. Called only if the value differs.
    merge
        ``merge(wanted, before, after)`` returns the value to restore from now on, where an import (or an initializer)
        has changed the value from ``before`` to ``after``, and ``wanted`` was to be restored up to then.
    look
        Gives the same as ``read`` for a comparison at once: without a copy, and perhaps as an :class:`Expression`. It
        may raise an exception where the value differs. None for ``read`` itself.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    merge: Callable[[Any, Any, Any], Any] = _the_later
    look: Callable[[], Any] | None = None


class CopiedMapping:
    """A large mapping that is copied only when it changes: comparing the values takes a fifth of the time of copying.

    Parameters
    ----------
    mapping
        The mapping.
    """

    def __init__(self, mapping: dict[Any, Any]) -> None:
        self._mapping = mapping
        self._values: list[Any] = []
        self._copy: dict[Any, Any] = {}

    @property
    def look(self) -> Expression:
        """A copy, as :meth:`read` returns it, as an expression."""
        values = "[*{values}({mapping})]"
        text = f"{{it}}._copy if {values} == {{it}}._values else {{it}}.read()"
        return Expression(text, it=self, values=dict.values, mapping=self._mapping)

    def read(self) -> dict[Any, Any]:
        """Return a copy, not to be changed."""
        values = [*dict.values(self._mapping)]
        if values != self._values:
            self._values, self._copy = values, dict(dict.items(self._mapping))
        return self._copy


def merged_mapping(wanted: Mapping[Any, Any], before: Mapping[Any, Any], after: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return ``wanted`` with the items that differ between ``before`` and ``after`` as they are in ``after``.

    Parameters
    ----------
    wanted
        The mapping to restore up to now.
    before, after
        The mapping before and after an import or initializer.
    """
    merged = {name: value for name, value in wanted.items() if name in after or name not in before}
    merged.update((name, value) for name, value in after.items() if name not in before or before[name] != value)
    return merged


def merged_list(wanted: Iterable[T], before: Iterable[T], after: Iterable[T]) -> list[T]:
    """Return ``wanted`` with entries added and removed as between ``before`` and ``after``.

    Entries that are new in ``after`` come first or last, as they do there.

    Parameters
    ----------
    wanted
        The list to restore up to now.
    before, after
        The list before and after an import or initializer.
    """
    wanted, before, after = list(wanted), list(before), list(after)
    common = next((place for place, entry in enumerate(after) if entry in before), 0)
    new = [[entry for entry in part if entry not in before and entry not in wanted] for part in _split(after, common)]
    return [*new[0], *(entry for entry in wanted if entry in after or entry not in before), *new[1]]


def _split(entries: list[T], place: int) -> tuple[list[T], list[T]]:
    return entries[:place], entries[place:]


def merged_tuple(wanted: tuple[Any, ...], before: tuple[Any, ...], after: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return ``wanted`` with the values that differ between ``before`` and ``after`` as they are in ``after``.

    Parameters
    ----------
    wanted
        The values to restore up to now.
    before, after
        The values before and after an import or initializer.
    """
    merged = zip(wanted, before, after, strict=True)
    return tuple(value if old == new else new for value, old, new in merged)


# ---------------------------------------------------------------------- environment, path, interpreter


def _write_environment(wanted: Mapping[bytes, bytes]) -> None:
    now = dict(_environment._data)
    for name in now.keys() - wanted.keys():
        del _environment[os.fsdecode(name)]
    for name, value in wanted.items():
        if now.get(name) != value:
            _environment[os.fsdecode(name)] = os.fsdecode(value)
    if now.get(b"TZ") != wanted.get(b"TZ"):
        time.tzset()


def _write_path(entries: list[str]) -> None:
    sys.path = _path
    _path[:] = entries


def _write_meta_path(finders: list[Any]) -> None:
    sys.meta_path = _meta_path
    _meta_path[:] = finders


def _write_path_hooks(hooks: list[Any]) -> None:
    """Restore what makes the finders of ``sys.path``, and forget those that were made meanwhile."""
    sys.path_hooks = _path_hooks
    _path_hooks[:] = hooks
    sys.path_importer_cache.clear()


def _write_reducers(wanted: dict[Any, Any]) -> None:
    for kind in _reducers.keys() - wanted.keys():
        del _reducers[kind]
    _reducers.update(wanted)


def _write_traceback_limit(limit: int | None) -> None:
    if limit is None:
        del sys.tracebacklimit
    else:
        sys.tracebacklimit = limit


def _write_filters(filters: list[Any]) -> None:
    found: Any = warnings
    found.filters[:] = filters
    found._filters_mutated()


# What is one attribute or one call each.
_HOOKS = Expression(
    """(
    {sys}.gettrace(), {sys}.getprofile(), {threading}.gettrace(), {threading}.getprofile(),
    {sys}.excepthook, {sys}.displayhook, {sys}.breakpointhook,
    {sys}.stdin, {sys}.dont_write_bytecode, {sys}.getswitchinterval(),
    {threading}.excepthook, {warnings}.showwarning, {warnings}.formatwarning,
    {socket}.getdefaulttimeout(), {gc}.isenabled(), {gc}.get_threshold(), {gc}.get_debug(), {threading}.stack_size(),
    {names}.get("tracebacklimit"), {sys}.get_asyncgen_hooks(), {sys}.get_coroutine_origin_tracking_depth(),
    {sys}.pycache_prefix, {sys}.getdlopenflags(), {methods}._actual_context, {thread}.name,
    )""",
    sys=sys,
    threading=threading,
    warnings=warnings,
    socket=socket,
    gc=gc,
    names=_sys_names,
    methods=_start_methods,
    thread=_main_thread,
)


_threading: Any = threading
_WRITE_HOOKS: tuple[Callable[[Any], object], ...] = (
    sys.settrace,
    sys.setprofile,
    _threading.settrace,
    _threading.setprofile,
    partial(setattr, sys, "excepthook"),
    partial(setattr, sys, "displayhook"),
    partial(setattr, sys, "breakpointhook"),
    partial(setattr, sys, "stdin"),
    partial(setattr, sys, "dont_write_bytecode"),
    sys.setswitchinterval,
    partial(setattr, threading, "excepthook"),
    partial(setattr, warnings, "showwarning"),
    partial(setattr, warnings, "formatwarning"),
    socket.setdefaulttimeout,
    lambda enabled: (gc.enable if enabled else gc.disable)(),
    lambda thresholds: gc.set_threshold(*thresholds),
    gc.set_debug,
    threading.stack_size,
    _write_traceback_limit,
    lambda hooks: sys.set_asyncgen_hooks(*hooks),
    sys.set_coroutine_origin_tracking_depth,
    partial(setattr, sys, "pycache_prefix"),
    sys.setdlopenflags,
    partial(setattr, _start_methods, "_actual_context"),
    partial(setattr, _main_thread, "name"),
)


def _write_hooks(wanted: tuple[Any, ...]) -> None:
    for value, now, write in zip(wanted, _HOOKS(), _WRITE_HOOKS, strict=True):
        if value != now:
            write(value)


_copied_reducers = CopiedMapping(_reducers)
_INTERPRETER = [
    Setting(
        "os.environ",
        lambda: os.environ,
        lambda value: setattr(os, "environ", value),
        look=Expression("{os}.environ", os=os),
    ),
    Setting(
        ENVIRONMENT,
        lambda: _environment._data.copy(),
        _write_environment,
        merged_mapping,
        Expression("{environment}._data", environment=_environment),
    ),
    Setting(PATH, lambda: sys.path[:], _write_path, merged_list, Expression("{sys}.path", sys=sys)),
    Setting("finders", lambda: sys.meta_path[:], _write_meta_path, merged_list, Expression("{sys}.meta_path", sys=sys)),
    Setting(
        "path hooks", lambda: sys.path_hooks[:], _write_path_hooks, merged_list, Expression("{sys}.path_hooks", sys=sys)
    ),
    Setting("reducers", _copied_reducers.read, _write_reducers, merged_mapping, _copied_reducers.look),
    Setting(
        FILTERS,
        lambda: warnings.filters[:],
        _write_filters,
        merged_list,
        Expression("{warnings}.filters", warnings=warnings),
    ),
    Setting(RECURSION, sys.getrecursionlimit, sys.setrecursionlimit),
    Setting("hooks", _HOOKS, _write_hooks, merged_tuple),
    Setting(
        "arguments",
        lambda: sys.argv[:],
        lambda value: setattr(sys, "argv", [*value]),
        look=Expression("{sys}.argv", sys=sys),
    ),
]
if hasattr(sys, "get_int_max_str_digits"):  # not in early patch releases of 3.10
    _INTERPRETER.append(Setting("digits", sys.get_int_max_str_digits, sys.set_int_max_str_digits))

# ---------------------------------------------------------------------- logging


def _set_log_level(level: int) -> None:
    """Set the level of the root logger, and of what is written although there is no handler, as in most tasks."""
    logging.root.setLevel(level)
    if logging.lastResort is not None:
        logging.lastResort.setLevel(min(level or logging.WARNING, logging.WARNING))


def _set_log_handlers(handlers: list[Any]) -> None:
    logging.root.handlers[:] = handlers


def _read_new_handlers() -> list[Any]:
    found: Any = logging
    return found._handlerList[:]  # type: ignore[no-any-return]


def _write_new_handlers(references: list[Any]) -> None:
    """Remove the handlers that are not in this list from the loggers that have them."""
    known = {id(reference()) for reference in references}
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            for handler in [each for each in logger.handlers if id(each) not in known]:
                logger.removeHandler(handler)


def _write_log_classes(wanted: tuple[Any, ...]) -> None:
    found: Any = logging
    factory, cls, logging.raiseExceptions, found._warnings_showwarning = wanted
    logging.setLogRecordFactory(factory)
    logging.setLoggerClass(cls)


_LOG_CLASSES = Expression(
    "({logging}.getLogRecordFactory(), {logging}.getLoggerClass(), {logging}.raiseExceptions,"
    " {logging}._warnings_showwarning)",
    logging=logging,
)
_LOGGING = [
    Setting("log classes", _LOG_CLASSES, _write_log_classes),
    Setting(LOG_LEVEL, Expression("{logging}.root.level", logging=logging), _set_log_level),
    Setting(
        "log handlers",
        lambda: logging.root.handlers[:],
        _set_log_handlers,
        merged_list,
        Expression("{logging}.root.handlers", logging=logging),
    ),
    Setting(
        "handlers of loggers",
        _read_new_handlers,
        _write_new_handlers,
        look=Expression("{logging}._handlerList", logging=logging),
    ),
    Setting("disabled log level", Expression("{logging}.root.manager.disable", logging=logging), logging.disable),
]

ALWAYS = (*_INTERPRETER, *_LOGGING)
