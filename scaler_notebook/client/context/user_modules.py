"""The user's modules in the notebook: which of them a task can import as they are here, and which travel by value.

A task imports a module from the file from which the notebook has imported it. Three kinds of modules travel by value:
those that were made by hand or by an import hook, those whose file was edited after the import, and those that use one
of these.
"""

import json
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import (
    ExtensionFileLoader,
    PathFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from operator import is_not, methodcaller
from types import FunctionType, ModuleType
from typing import Any
from zipimport import zipimporter

import cloudpickle

from scaler_notebook import forks
from scaler_notebook.client.waiting.locks import call_locked
from scaler_notebook.task.modules.installation import file_stamp, own_location

from .module_values import ChangedValues, ModuleValues
from .module_versions import Version, imported_by, version, watch_imports

_LOADERS = (SourceFileLoader, SourcelessFileLoader, ExtensionFileLoader)
_NOT_OURS = ("__main__", "__mp_main__")
_get_spec = methodcaller("get", "__spec__")

FRESH = 0.005  # seconds for which a look at the files counts: so long it may serve the submits of a loop

EDITED = "its file was edited, or is gone, since the notebook imported it. Reload it there: importlib.reload"
BY_HAND = "it was made by hand or by an import hook"


class _UserModule:
    """One module, as it was found in ``sys.modules``.

    Parameters
    ----------
    name
        The module's name.
    module
        The module.
    where
        The module's location, as :func:`scaler_notebook.task.modules.installation.own_location` has it.
    """

    def __init__(self, name: str, module: ModuleType, where: str) -> None:
        self.module = module
        # Not getattr, which would load a lazy module.
        self.attributes: dict[str, Any] = object.__getattribute__(module, "__dict__")
        self.spec = self.attributes.get("__spec__")
        self.file = where if where == self.attributes.get("__file__") else ""
        self.directories = tuple(each for each in self.attributes.get("__path__") or () if isinstance(each, str))
        self.why = "" if self._can_be_found(where) else BY_HAND  # a reason: the module travels by value
        self.version: Version = version(self.file, self.spec) if self.file and not self.why else ("", None)
        self.stamp = self.version[0]
        self.edited = bool(self.file) and not self.why and self.version[1] is None
        self._imports: frozenset[str] | None = None
        self.values = ModuleValues(self.attributes, self.spec)

    def _can_be_found(self, where: str) -> bool:
        """Whether a task can import the module, given its location. A namespace package has no file."""
        if self.spec is None or not where:
            return False
        return not self.file or type(getattr(self.spec, "loader", None)) in _LOADERS

    def look(self) -> bool:
        """Whether the module's file has changed since the last look."""
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
        """Return the name of one of the given modules that this one imports or refers to; empty if there is none."""
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


class UserModules:
    """The user's modules of this process, followed as they are imported, reloaded and edited."""

    def __init__(self) -> None:
        self._mutex = threading.RLock()  # a signal handler of the user's may submit within a submit
        self._newest: tuple[object, ...] = ()  # what :func:`_newest` returned last
        self._looked_at = -math.inf  # when the files were looked at, in monotonic seconds
        self._known: dict[str, _UserModule] = {}
        self._modules: list[ModuleType] = []  # of those that are known, in their order
        self._attributes: list[dict[str, Any]] = []
        self._specs: list[Any] = []
        self._registered: set[str] = set()  # names that were registered with cloudpickle here
        self._changed_values = ChangedValues()
        self.text = ""  # for ClientContext.modules

    def refresh(self) -> None:
        """Notice what was imported and reloaded since the last call, and what was edited up to 5 ms ago.

        The ``stat`` that it costs for each module gives up the interpreter's lock, which the calls of a loop cannot
        afford at every turn (see :mod:`scaler_notebook.client.system_calls`).
        """
        call_locked(self._mutex, self._refresh)

    def _refresh(self) -> None:
        """Look at all modules, and again at the next call if this one is interrupted."""
        try:
            self._look_at_all()
        except BaseException:
            self._newest = ()  # the next call looks at everything again
            raise

    def _look_at_all(self) -> None:
        """Read new and replaced modules, look at the files of all, and decide anew if anything has changed."""
        changed = self._newest != _newest() or (bool(self._known) and self._has_replacements())
        if changed:
            self._scan()
        now = time.monotonic()
        if changed or now - self._looked_at >= FRESH:
            for known in self._known.values():
                changed = known.look() or changed
            self._looked_at = now
        if changed:
            self._decide()

    def changed_values(self) -> dict[str, dict[str, Any]]:
        """Return the plain values that the notebook has changed in its modules, by module and name."""
        return self._changed_values.get()

    def start_over(self) -> None:
        """In a forked child: replace the lock, which another thread may have held within :meth:`refresh`."""
        self._mutex, self._newest = threading.RLock(), ()

    def _has_replacements(self) -> bool:
        """Whether a known module has been replaced or reloaded."""
        there, specs = map(sys.modules.get, self._known), map(_get_spec, self._attributes)
        return any(map(is_not, there, self._modules)) or any(map(is_not, specs, self._specs))

    def _scan(self) -> None:
        """Find the user's modules in ``sys.modules``."""
        newest, modules = _newest(), sys.modules.copy()
        found = {}
        for name, module in modules.items():
            with suppress(Exception):  # anything may be in sys.modules
                if (known := self._look_at(name, module, modules)) is not None:
                    found[name] = known
        self._known, self._newest = found, newest
        # What is compared at each submit, by calls that do not come back to Python for every module.
        self._modules = [known.module for known in found.values()]
        self._attributes = [known.attributes for known in found.values()]
        self._specs = [known.spec for known in found.values()]

    def _look_at(self, name: str, module: ModuleType, modules: dict[str, ModuleType]) -> _UserModule | None:
        """Return a module's record, if the module is the user's; None otherwise.

        Parameters
        ----------
        name
            The module's name in ``sys.modules``.
        module
            What is there.
        modules
            A copy of ``sys.modules``.
        """
        where = own_location(module)
        if name in _NOT_OURS or _attribute(module, "__name__") != name:
            return None
        if not (where or _is_made(name, module, modules)) or _is_in_archive(name, where):
            return None
        if _attribute(module, "__spec__") is None and _is_part_of_compiled(name, modules):
            return None
        known = self._known.get(name)
        if known is None or known.module is not module or known.spec is not _attribute(module, "__spec__"):
            known = _UserModule(name, module, where)
        return known

    def _decide(self) -> None:
        """Decide which modules travel by value: those that must, and those that use one of these."""
        by_value = dict(self._travelling_by_value())
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
        self._changed_values.follow({name: known.values for name, known in self._known.items() if name not in names})

    def _travelling_by_value(self) -> Iterator[tuple[str, str]]:
        """Yield the names of the modules that a task cannot import as they are here, each with the reason."""
        by_value = set()
        for name, known in sorted(self._known.items()):  # sorted: a package comes before its modules
            package = name.rpartition(".")[0]
            why = EDITED if known.edited else known.why
            if not why and package and (package in by_value or package not in sys.modules):
                why = f"the package {package!r} cannot be imported there"
            if why:
                by_value.add(name)
                yield name, why

    def _register(self, names: set[str]) -> None:
        """Have cloudpickle send by value exactly these modules, and those that the user has registered."""
        for name in self._registered - names:
            self._registered.discard(name)
            if name in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.unregister_pickle_by_value(sys.modules.get(name) or ModuleType(name))
        for name in names - cloudpickle.list_registry_pickle_by_value():
            if (known := self._known.get(name)) is not None:
                cloudpickle.register_pickle_by_value(known.module)
                self._registered.add(name)


def _newest() -> tuple[object, ...]:
    """Return how many modules there are, and which was added last: a dictionary keeps their order."""
    name = next(reversed(sys.modules))
    return len(sys.modules), name, id(sys.modules.get(name))


def _attribute(module: object, name: str) -> Any:
    """Return an attribute of a module itself, without waking a lazy module; None if there is none.

    Parameters
    ----------
    module
        The module, or what else is in ``sys.modules``.
    name
        The name of the attribute.
    """
    try:
        return object.__getattribute__(module, "__dict__").get(name)
    except AttributeError:
        return None


def _is_made(name: str, module: object, modules: dict[str, ModuleType]) -> bool:
    """Whether a module without a file was made by the user, by hand or by an import hook, and not by a library.

    Parameters
    ----------
    name
        The module's name.
    module
        The module.
    modules
        A copy of ``sys.modules``.
    """
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


def _is_part_of_compiled(name: str, modules: dict[str, ModuleType]) -> bool:
    """Whether a module is named as a part of a compiled one, which has made it, and makes it wherever it is imported.

    Parameters
    ----------
    name
        The module's name.
    modules
        A copy of ``sys.modules``.
    """
    while name := name.rpartition(".")[0]:
        spec = _attribute(modules.get(name), "__spec__")
        if isinstance(getattr(spec, "loader", None), ExtensionFileLoader):
            return True
    return False


def _is_in_archive(name: str, where: str) -> bool:
    """Whether a module is in an archive, where the path leads from any directory.

    Parameters
    ----------
    name
        The module's name.
    where
        The module's location.
    """
    if not os.path.isabs(where) or type(_attribute(sys.modules.get(name), "__loader__")) is not zipimporter:
        return False
    package = _attribute(sys.modules.get(name.rpartition(".")[0]), "__path__")
    found = PathFinder.find_spec(name, package)
    return found is not None and found.origin == where


USER_MODULES = UserModules()  # of this process
USER_MODULES.refresh()
forks.after_fork_in_child(USER_MODULES.start_over)
watch_imports()
