"""What a task process has imported since its start."""

import os
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from typing import NamedTuple

from scaler_notebook.task.modules.installation import file_stamp, is_installed, own_location

CHANGED = "changed"  # the stamp of no file


class NewImports(NamedTuple):
    """What was imported.

    Parameters
    ----------
    installed
        The names of installed modules, in the order of their imports.
    own
        Of each of the user's modules, one after the other, its name, its location and the stamp of its file; empty for
        a namespace package.
    """

    installed: tuple[str, ...] = ()
    own: tuple[str, ...] = ()


class ImportTracker:
    """Notices what is imported, and has modules forgotten that must not be seen by the tasks to come."""

    def __init__(self) -> None:
        self._at_start = {name.partition(".")[0] for name in sys.modules}
        self._known = {name: id(module) for name, module in sys.modules.items()}
        self._count = len(self._known)

    def news(self, since: float = 0.0) -> NewImports:
        """What was imported since the last call.

        Parameters
        ----------
        since
            Seconds since the epoch. What was written to a file after that may be newer than what was imported of it:
            the stamp is :data:`CHANGED`.
        """
        if len(sys.modules) == self._count:
            return NewImports()
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
        """Have these modules, and all that is in them, be imported anew by whoever asks for them next."""
        for gone in names:
            for name in [name for name in sys.modules if name == gone or name.startswith(f"{gone}.")]:
                del sys.modules[name]
            self._count = -1

    def forget_hidden(self) -> None:
        """Forget modules that were imported from the installation, where ``sys.path`` has one of the user's first."""
        imported = {name.partition(".")[0] for name in self._known} - self._at_start
        if imported:
            self.forget([name for name in _in_front(imported) if not own_location(sys.modules.get(name))])


def _in_front(names: set[str]) -> Iterator[str]:
    """Which of these modules lie in a directory of the user's that comes before the installation."""
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
    try:
        return CHANGED if since and os.stat(where).st_mtime >= since else file_stamp(where)
    except OSError:
        return "gone"
