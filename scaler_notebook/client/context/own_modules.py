"""The user's modules in the notebook: which of them a task can import as they are here, and which travel by value.

A task imports a module from the file from which the notebook has it. What it would not get there travels by value: a
module that was made by hand or by an import hook, one whose file was edited after its import, and what uses such a
module.
"""

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import (
    ExtensionFileLoader,
    PathFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from types import FunctionType, ModuleType
from typing import Any
from zipimport import zipimporter

import cloudpickle

from scaler_notebook import forks
from scaler_notebook.client.waiting.locks import holding
from scaler_notebook.task.modules.installation import file_stamp, own_location

from .module_versions import Version, imported_by, version, watch_imports

_LOADERS = (SourceFileLoader, SourcelessFileLoader, ExtensionFileLoader)
_NOT_OURS = ("__main__", "__mp_main__")

EDITED = "its file was edited, or is gone, since the notebook imported it. Reload it there: importlib.reload"
BY_HAND = "it was made by hand or by an import hook"


class _Known:
    """One module, as it was found in ``sys.modules``."""

    def __init__(self, name: str, module: ModuleType, where: str) -> None:
        self.module = module
        self.attributes: dict[str, Any] = object.__getattribute__(module, "__dict__")  # without waking a lazy one
        self.spec = self.attributes.get("__spec__")
        self.file = where if where == self.attributes.get("__file__") else ""
        self.directories = tuple(each for each in self.attributes.get("__path__") or () if isinstance(each, str))
        self.why = "" if self._can_be_found(where) else BY_HAND  # it must travel by value
        self.version: Version = version(self.file, self.spec) if self.file and not self.why else ("", None)
        self.stamp = self.version[0]
        self.edited = bool(self.file) and not self.why and self.version[1] is None
        self._imports: frozenset[str] | None = None

    def _can_be_found(self, where: str) -> bool:
        """Can a task import it, given where it is? A namespace package has no file."""
        if self.spec is None or not where:
            return False
        return not self.file or type(getattr(self.spec, "loader", None)) in _LOADERS

    def look(self) -> bool:
        """Has anything happened to its file since the last look?"""
        if not self.file or self.why:
            return False
        now = file_stamp(self.file)
        if now == self.stamp:
            return False
        self.stamp = now
        found = version(self.file)
        self.edited = found[1] != self.version[1]
        if not self.edited:
            self.version = found
        return True

    def uses(self, names: set[str]) -> str:
        """The name of one of these modules that this one imports or refers to; empty if there is none."""
        if self._imports is None:
            self._imports = imported_by(self.file, self.module.__name__) if self.file else frozenset()
        if imported := sorted(self._imports & names):
            return imported[0]
        for value in list(self.attributes.values()):
            with suppress(Exception):  # a proxy may raise whatever it likes when it is looked at
                if isinstance(value, ModuleType):
                    name = value.__name__
                elif isinstance(value, FunctionType | type):
                    name = value.__module__
                else:
                    continue
                if name in names and sys.modules.get(name) is not self.module:
                    return str(name)
        return ""


class OwnModules:
    """Follows the user's modules of this process."""

    def __init__(self) -> None:
        self._mutex = threading.RLock()  # a signal handler of the user's may submit within a submit
        self._newest: tuple[object, ...] = ()  # what changes with every import
        self._known: dict[str, _Known] = {}
        self._registered: set[str] = set()  # with cloudpickle, by us
        self.text = ""  # for ClientContext.modules

    def refresh(self) -> None:
        """Notice what was imported, reloaded and edited since the last call; costs a ``stat`` for each module."""
        holding(self._mutex, self._refresh)

    def _refresh(self) -> None:
        try:
            self._look_at_all()
        except BaseException:
            self._newest = ()  # what was begun is begun again
            raise

    def _look_at_all(self) -> None:
        changed = self._newest != _newest() or (bool(self._known) and self._has_replaced())
        if changed:
            self._scan()
        for known in self._known.values():
            changed = known.look() or changed
        if changed:
            self._decide()

    def begin_again(self) -> None:
        """In a forked child: another thread may have been within :meth:`refresh`."""
        self._mutex, self._newest = threading.RLock(), ()

    def _has_replaced(self) -> bool:
        there = sys.modules.get
        for name, known in self._known.items():
            if there(name) is not known.module or known.attributes.get("__spec__") is not known.spec:
                return True
        return False

    def _scan(self) -> None:
        newest, modules = _newest(), sys.modules.copy()
        found = {}
        for name, module in modules.items():
            with suppress(Exception):  # whatever there is in sys.modules, of the user's or a library's
                if (known := self._look_at(name, module, modules)) is not None:
                    found[name] = known
        self._known, self._newest = found, newest

    def _look_at(self, name: str, module: ModuleType, modules: dict[str, ModuleType]) -> _Known | None:
        """A module, if it is the user's."""
        where = own_location(module)
        if name in _NOT_OURS or _attribute(module, "__name__") != name:
            return None
        if not (where or _is_made(name, module, modules)) or _is_in_archive(name, where):
            return None
        known = self._known.get(name)
        if known is None or known.module is not module or known.spec is not _attribute(module, "__spec__"):
            known = _Known(name, module, where)
        return known

    def _decide(self) -> None:
        by_value = dict(self._must_travel())
        names = set(by_value)
        grows = bool(names)
        while grows:
            grows = False
            for name, known in self._known.items():
                if name not in names and (used := known.uses(names)):
                    by_value[name] = f"it uses the module {used!r}, and of that: {by_value[used]}"
                    grows = True
            names = set(by_value)
        found = {
            name: [by_value.get(name, ""), known.file, *known.version, *known.directories]
            for name, known in self._known.items()
        }
        self.text = json.dumps(found) if found else ""
        self._register(names)

    def _must_travel(self) -> Iterator[tuple[str, str]]:
        """The names of what a task cannot import as it is here, each with the reason."""
        by_value = set()
        for name, known in sorted(self._known.items()):  # a package before what is in it
            package = name.rpartition(".")[0]
            why = EDITED if known.edited else known.why
            if not why and package and (package in by_value or package not in sys.modules):
                why = f"the package {package!r} cannot be imported there"
            if why:
                by_value.add(name)
                yield name, why

    def _register(self, names: set[str]) -> None:
        """Have cloudpickle send exactly these by value, and what the user has registered."""
        for name in self._registered - names:
            self._registered.discard(name)
            if name in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.unregister_pickle_by_value(sys.modules.get(name) or ModuleType(name))
        for name in names - cloudpickle.list_registry_pickle_by_value():
            if (known := self._known.get(name)) is not None:
                cloudpickle.register_pickle_by_value(known.module)
                self._registered.add(name)


def _newest() -> tuple[object, ...]:
    """How many modules there are, and which was the last to come: a dictionary keeps their order."""
    name = next(reversed(sys.modules))
    return len(sys.modules), name, id(sys.modules.get(name))


def _attribute(module: object, name: str) -> Any:
    """An attribute of a module itself; None if it has none, and without waking a lazy one."""
    try:
        return object.__getattribute__(module, "__dict__").get(name)
    except AttributeError:
        return None


def _is_made(name: str, module: object, modules: dict[str, ModuleType]) -> bool:
    """Was a module of no file made by the user, by hand or by an import hook, and not by a library or the system?"""
    if type(module) is not ModuleType or _attribute(module, "__file__") is not None:
        return False
    spec, top = _attribute(module, "__spec__"), modules.get(name.partition(".")[0])
    if spec is None:
        library = name.startswith(("_", "cython_runtime"))  # what compiled modules share
    else:
        system = getattr(spec, "origin", None) in ("built-in", "frozen")
        library = system or getattr(spec, "loader", None) is None or hasattr(module, "__path__")
    if library or top is module or top is None:
        return not library
    return bool(own_location(top)) or _is_made(name.partition(".")[0], top, modules)


def _is_in_archive(name: str, where: str) -> bool:
    """Is it in an archive, where the path leads from any directory?"""
    if not os.path.isabs(where) or type(_attribute(sys.modules.get(name), "__loader__")) is not zipimporter:
        return False
    package = _attribute(sys.modules.get(name.rpartition(".")[0]), "__path__")
    found = PathFinder.find_spec(name, package)
    return found is not None and found.origin == where


OWN_MODULES = OwnModules()  # of this process
OWN_MODULES.refresh()
forks.after_fork_in_child(OWN_MODULES.begin_again)
watch_imports()
