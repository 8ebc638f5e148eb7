"""Settings for what a task registers: modules, codecs, levels and filters of loggers, and hooks of audit events.

Each registration is made by calling a function, so what is registered is read again only after such a call
(:mod:`.noted_calls`).
"""

import codecs
import functools
import logging
import sys
from operator import itemgetter
from types import ModuleType
from typing import Any

from .expressions import Expression
from .noted_calls import NotedValue, note_calls
from .patching import patches
from .setting import Setting, merged_list, merged_mapping

_modules = sys.modules
_USUAL: tuple[int, list[Any], bool, bool] = (logging.NOTSET, [], False, True)  # as :func:`_read` gives them


def registrations() -> list[Setting]:
    """Return the settings. Called once in a process, as functions of the standard library are replaced by wrappers."""
    return [_standard_modules(), _other_modules(), _codecs(), _audit_hooks(), *_logging()]


# ---------------------------------------------------------------------- modules


def _standard_modules() -> Setting:
    """Return the setting for the entries of ``sys.modules`` that are modules of the standard library."""
    names = [name for name in sys.stdlib_module_names if name in _modules and not name.startswith("_")]
    read_all = itemgetter(*names)

    def read() -> Any:
        try:
            return read_all(_modules)
        except KeyError:
            return tuple(map(_modules.get, names))

    look = Expression("{read}({modules})", read=read_all, modules=_modules)
    return Setting("standard modules", read, lambda wanted: _modules.update(zip(names, wanted, strict=True)), look=look)


def _other_modules() -> Setting:
    """Return the setting for the names of modules that were put into ``sys.modules`` and not imported."""
    known = -1
    found: list[str] = []

    def read() -> list[str]:
        nonlocal known, found
        if known != len(_modules):
            known = len(_modules)
            found = [name for name, module in _modules.copy().items() if not _was_imported(module)]
        return found

    def write(wanted: list[str]) -> None:
        for name in set(read()).difference(wanted):
            del _modules[name]

    return Setting("modules that were not imported", read, write, merged_list)


def _was_imported(module: Any) -> bool:
    return isinstance(module, ModuleType) and getattr(module, "__spec__", None) is not None


# ---------------------------------------------------------------------- codecs


def _codecs() -> Setting:
    """Return the setting for the search functions that were registered."""
    searches: list[Any] = []
    register, unregister = codecs.register, codecs.unregister

    @functools.wraps(register)
    def noted_register(search_function: Any, /) -> None:
        register(search_function)
        searches.append(search_function)

    @functools.wraps(unregister)
    def noted_unregister(search_function: Any, /) -> None:
        unregister(search_function)
        if search_function in searches:
            searches.remove(search_function)

    def write(wanted: list[Any]) -> None:
        for search in [each for each in searches if each not in wanted]:
            noted_unregister(search)

    codecs.register, codecs.unregister = noted_register, noted_unregister
    return Setting("codecs", lambda: searches[:], write, merged_list, Expression("{searches}", searches=searches))


# ---------------------------------------------------------------------- audit hooks


def _audit_hooks() -> Setting:
    """Return the setting for the number of hooks of audit events: Python removes none, so their process ends."""
    hooks: list[None] = []
    note_calls((sys,), ("addaudithook",), after=functools.partial(hooks.append, None))

    def write(wanted: int) -> None:
        raise RuntimeError("an audit hook cannot be removed")

    return Setting("audit hooks", lambda: len(hooks), write)


# ---------------------------------------------------------------------- logging


def _logging() -> list[Setting]:
    """Return the settings for the loggers, but for their handlers, and for the names of levels."""
    loggers = NotedValue(_read_loggers, _write_loggers)
    note_calls((logging.Logger,), ("setLevel",), after=loggers.noted)
    note_calls((logging.Filterer,), ("addFilter", "removeFilter"), after=loggers.noted)
    for attribute in ("disabled", "propagate"):
        patches.when_stored(attribute, loggers.noted)
    names = NotedValue(_read_names, _write_names)
    note_calls((logging,), ("addLevelName",), after=names.noted)
    return [
        Setting("loggers", loggers.read, loggers.write, merged_mapping, loggers.look),
        Setting("names of levels", names.read, names.write, look=names.look),
    ]


def _read_loggers() -> dict[Any, Any]:
    """Return what is unusual about each logger, without the root, whose level is the client's."""
    found = {
        each: _read(each) for each in [*logging.root.manager.loggerDict.values()] if isinstance(each, logging.Logger)
    }
    return {logger: values for logger, values in found.items() if values != _USUAL}


def _write_loggers(wanted: dict[Any, Any]) -> None:
    for logger in {**_read_loggers(), **wanted}:
        level, logger.filters[:], logger.disabled, logger.propagate = wanted.get(logger, _USUAL)
        logger.setLevel(level)


def _read(logger: logging.Logger) -> tuple[int, list[Any], bool, bool]:
    return logger.level, logger.filters[:], logger.disabled, logger.propagate


def _read_names() -> tuple[dict[int, str], dict[str, int]]:
    found: Any = logging
    return found._levelToName.copy(), found._nameToLevel.copy()


def _write_names(wanted: tuple[dict[int, str], dict[str, int]]) -> None:
    found: Any = logging
    for now, before in zip((found._levelToName, found._nameToLevel), wanted, strict=True):
        now.clear()
        now.update(before)
