"""Which modules a task process has imported since its start."""

import os
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from typing import NamedTuple

from scaler_notebook.task.modules.installation import file_stamp, is_installed, own_location

CHANGED = "changed"  # a stamp that no file has


class NewImports(NamedTuple):
    """The modules that were imported since the last look.

    Parameters
    ----------
    installed
        The names of installed modules, in the order in which they were imported.
    own
        The user's modules in a row: name, location, and stamp of the file of each. The stamp of a namespace package is
        empty.
    """

    installed: tuple[str, ...] = ()
    own: tuple[str, ...] = ()


_NOTHING_NEW = NewImports()


class ImportTracker:
    """Finds out what was imported, and forgets modules that later tasks must not meet."""

    def __init__(self) -> None:
        self._at_start = {name.partition(".")[0] for name in sys.modules}
        self._known = {name: id(module) for name, module in sys.modules.items()}
        self._count = len(self._known)

    def take_new(self, since: float = 0.0) -> NewImports:
        """Return what was imported since the last call.

        Parameters
        ----------
        since
            When the imports may have begun, in seconds since the epoch; 0 if no file can have changed meanwhile. A file
            that was written later may differ from what was imported: its stamp is :data:`CHANGED`.
        """
        if len(sys.modules) == self._count:
            return _NOTHING_NEW
        installed: list[str] = []
        own: list[str] = []
        modules = sys.modules.copy()
        for name, module in modules.items():
            if self._known.get(name) == id(module):
                continue
            if where := own_location(module):
                own += name, where, _stamp(where, since) if getattr(module, "__file__", None) else ""
            elif is_installed(str(getattr(module, "__file__", ""))) and not name.startswith("_") and "._" not in name:
                installed.append(name)
        self._known = {name: id(module) for name, module in modules.items()}
        self._count = len(modules)
        return NewImports(tuple(installed), tuple(own))

    def forget(self, names: Iterable[str]) -> None:
        """Forget modules, with all submodules, so that the next import of one runs its file again."""
        for gone in names:
            for name in [name for name in sys.modules if name == gone or name.startswith(f"{gone}.")]:
                del sys.modules[name]
            self._count = -1

    def forget_shadowed(self) -> None:
        """Forget installed modules that a module of the user's with the same name now shadows on ``sys.path``."""
        imported = {name.partition(".")[0] for name in self._known} - self._at_start
        if imported:
            self.forget([name for name in _shadowing(imported) if not own_location(sys.modules.get(name))])


def _shadowing(names: set[str]) -> Iterator[str]:
    """Yield those of these names that the user's directories before the installation on ``sys.path`` have."""
    for entry in sys.path:
        if is_installed(entry):
            break
        try:
            there = {name.partition(".")[0] for name in os.listdir(entry or ".")}
        except OSError:
            continue
        for name in there & names:
            spec = PathFinder.find_spec(name, [entry])
            if spec is not None and spec.origin is not None:
                yield name


def _stamp(where: str, since: float) -> str:
    """Return the stamp of a file; :data:`CHANGED` if it was written after ``since``, ``gone`` if there is none."""
    try:
        return CHANGED if since and os.stat(where).st_mtime >= since else file_stamp(where)
    except OSError:
        return "gone"
