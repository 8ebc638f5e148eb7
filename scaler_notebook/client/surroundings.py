"""What the kernel's code sees around it, so that a task sees the same: directory, path, environment, edited modules."""

import os
import sys
import sysconfig
from collections.abc import Mapping
from multiprocessing import process
from types import ModuleType
from typing import Any

from ..protocol.messages import ClientContext, Initializer
from ..protocol.search_path import search_path


class Surroundings:
    """Notices, at a submit, what has changed since the last one.

    Parameters
    ----------
    initializer
        What comes before the first task in each process.
    """

    def __init__(self, initializer: Initializer) -> None:
        self._initializer = initializer
        self._seen: tuple[object, ...] = ()
        self._module_count = 0
        self._stamps: dict[str, str] = {}  # of the files behind the user's imported modules
        self._edits = 0

    def changed(self) -> ClientContext | None:
        """The new surroundings; None if they are those of the last call. Costs some microseconds."""
        try:
            directory = os.getcwd()
        except FileNotFoundError:
            directory = ""
        modules = str(self._count_edits())
        # The mapping behind os.environ, where there is one: a copy of it costs a tenth of decoding everything.
        environment: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)
        authkey = bytes(process.current_process().authkey)
        seen = (directory, sys.path, modules, environment, authkey)
        if self._seen == seen:
            return None
        self._seen = (directory, list(sys.path), modules, dict(environment), authkey)
        settings = tuple(f"{name}={value}" for name, value in os.environ.items())
        return ClientContext(directory, tuple(search_path()), settings, modules, self._initializer, authkey)

    def _count_edits(self) -> int:
        """How often a file behind one of the user's imported modules was seen to have changed."""
        if len(sys.modules) != self._module_count:
            self._module_count = len(sys.modules)
            files = filter(None, map(_own_file, list(sys.modules.values())))
            self._stamps = {file: self._stamps.get(file) or _stamp(file) for file in files}
        for file, stamp in self._stamps.items():
            now = _stamp(file)
            if now != stamp:
                self._stamps[file] = now
                self._edits += 1
        return self._edits


_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _own_file(module: ModuleType) -> str | None:
    """The source of a module that a user may be editing: none of the interpreter's, none that was installed."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py") or file.startswith((*_LIBRARIES, sys.prefix, _OURS)):
        return None
    return None if module.__name__ == "__main__" or "site-packages" in file else file


def _stamp(file: str) -> str:
    try:
        status = os.stat(file)
    except OSError:
        return "gone"
    return f"{status.st_mtime_ns}-{status.st_size}"
