"""The settings of the interpreter and of logging that a task may change, and that can be restored.

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
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from scaler_notebook.protocol.settings import ENVIRONMENT, FILTERS, LOG_LEVEL, PATH, RECURSION

from .expressions import Expression
from .setting import CopiedMapping, Setting, merged_list, merged_mapping, merged_tuple

_environment: Any = os.environ
_path, _meta_path, _path_hooks = sys.path, sys.meta_path, sys.path_hooks
_sys_names = vars(sys)  # a name that is not there costs 0.8 microseconds by getattr
_reducers: dict[Any, Any] = copyreg.dispatch_table
_start_methods: Any = multiprocessing.context._default_context
_main_thread = threading.main_thread()
_logging: Any = logging  # with its private names
_threading: Any = threading
_warnings: Any = warnings


# ---------------------------------------------------------------------- environment, path, interpreter


def _write_environment(wanted: Mapping[bytes, bytes]) -> None:
    """Restore the environment, in C too, and the time zone that the C library has taken from it."""
    now = dict(_environment._data)
    for name in now.keys() - wanted.keys():
        del _environment[os.fsdecode(name)]
    for name, value in wanted.items():
        if now.get(name) != value:
            _environment[os.fsdecode(name)] = os.fsdecode(value)
    if now.get(b"TZ") != wanted.get(b"TZ"):
        time.tzset()


def _write_path(entries: list[str]) -> None:
    """Restore ``sys.path``: the list object, and its entries."""
    sys.path = _path
    _path[:] = entries


def _write_meta_path(finders: list[Any]) -> None:
    """Restore ``sys.meta_path``: the list object, and its finders."""
    sys.meta_path = _meta_path
    _meta_path[:] = finders


def _write_path_hooks(hooks: list[Any]) -> None:
    """Restore what makes the finders of ``sys.path``, and forget those that were made meanwhile."""
    sys.path_hooks = _path_hooks
    _path_hooks[:] = hooks
    sys.path_importer_cache.clear()


def _write_reducers(wanted: dict[Any, Any]) -> None:
    """Restore what :mod:`copyreg` has of classes that are pickled in a way of their own."""
    for kind in _reducers.keys() - wanted.keys():
        del _reducers[kind]
    _reducers.update(wanted)


def _write_traceback_limit(limit: int | None) -> None:
    """Restore ``sys.tracebacklimit``, which is not there by default."""
    if limit is None:
        del sys.tracebacklimit
    else:
        sys.tracebacklimit = limit


def _write_filters(filters: list[Any]) -> None:
    """Restore the filters of warnings, and have the interpreter notice."""
    _warnings.filters[:] = filters
    _warnings._filters_mutated()


# What is one attribute or one call each: the expression that reads it, and what writes it.
_HOOKS: tuple[tuple[str, Callable[[Any], object]], ...] = (
    ("{sys}.gettrace()", sys.settrace),
    ("{sys}.getprofile()", sys.setprofile),
    ("{threading}.gettrace()", _threading.settrace),
    ("{threading}.getprofile()", _threading.setprofile),
    ("{sys}.excepthook", partial(setattr, sys, "excepthook")),
    ("{sys}.displayhook", partial(setattr, sys, "displayhook")),
    ("{sys}.breakpointhook", partial(setattr, sys, "breakpointhook")),
    ("{sys}.stdin", partial(setattr, sys, "stdin")),
    ("{sys}.dont_write_bytecode", partial(setattr, sys, "dont_write_bytecode")),
    ("{sys}.getswitchinterval()", sys.setswitchinterval),
    ("{threading}.excepthook", partial(setattr, threading, "excepthook")),
    ("{warnings}.showwarning", partial(setattr, warnings, "showwarning")),
    ("{warnings}.formatwarning", partial(setattr, warnings, "formatwarning")),
    ("{socket}.getdefaulttimeout()", socket.setdefaulttimeout),
    ("{gc}.isenabled()", lambda enabled: (gc.enable if enabled else gc.disable)()),
    ("{gc}.get_threshold()", lambda thresholds: gc.set_threshold(*thresholds)),
    ("{gc}.get_debug()", gc.set_debug),
    ("{threading}.stack_size()", threading.stack_size),
    ('{names}.get("tracebacklimit")', _write_traceback_limit),
    ("{sys}.get_asyncgen_hooks()", lambda hooks: sys.set_asyncgen_hooks(*hooks)),
    ("{sys}.get_coroutine_origin_tracking_depth()", sys.set_coroutine_origin_tracking_depth),
    ("{sys}.pycache_prefix", partial(setattr, sys, "pycache_prefix")),
    ("{sys}.getdlopenflags()", sys.setdlopenflags),
    ("{methods}._actual_context", partial(setattr, _start_methods, "_actual_context")),
    ("{thread}.name", partial(setattr, _main_thread, "name")),
)
_read_hooks = Expression(
    f"({', '.join(text for text, _ in _HOOKS)})",
    sys=sys,
    threading=threading,
    warnings=warnings,
    socket=socket,
    gc=gc,
    names=_sys_names,
    methods=_start_methods,
    thread=_main_thread,
)


def _write_hooks(wanted: tuple[Any, ...]) -> None:
    """Write those of the hooks that differ."""
    for value, now, (_, write) in zip(wanted, _read_hooks(), _HOOKS, strict=True):
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
    Setting("hooks", _read_hooks, _write_hooks, merged_tuple),
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
    """Restore the handlers of the root logger."""
    logging.root.handlers[:] = handlers


def _read_new_handlers() -> list[Any]:
    """Return the references to all handlers that there are, in the order in which they were made."""
    return _logging._handlerList[:]  # type: ignore[no-any-return]


def _write_new_handlers(references: list[Any]) -> None:
    """Remove the handlers that are not in this list from the loggers that have them."""
    known = {id(reference()) for reference in references}
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            for handler in [each for each in logger.handlers if id(each) not in known]:
                logger.removeHandler(handler)


def _write_log_classes(wanted: tuple[Any, ...]) -> None:
    """Restore what loggers and records are made by, and what :mod:`logging` has replaced in :mod:`warnings`."""
    factory, cls, logging.raiseExceptions, _logging._warnings_showwarning = wanted
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
