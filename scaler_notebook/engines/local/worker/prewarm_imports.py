"""Imports ahead of need, of installed modules alone."""

import importlib
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from scaler_notebook.task.modules.installation import is_installed, own_directories


class PrewarmImporter(MetaPathFinder):
    """Imports installed modules, and lets no module of the user's be imported within its ``with`` block.

    A task may have other modules of the user's than the scheduler knows of. There the importer is the first finder on
    ``sys.meta_path``.
    """

    def __init__(self) -> None:
        self.is_tainted = False  # has a module tried to import the user's, and so become another than in a task?
        self._has_run_code = False  # has the current import run a module?

    def __enter__(self) -> "PrewarmImporter":
        sys.meta_path.insert(0, self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)

    def import_module(self, name: str) -> None:
        """Import a module if it is installed. What the module raises, the task that needs it will see."""
        self._has_run_code = False
        with suppress(Exception):
            importlib.import_module(name)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Let the other finders find a module.

        Parameters
        ----------
        name, path, target
            As :meth:`importlib.abc.MetaPathFinder.find_spec` has them.

        Raises
        ------
        ImportError
            The module is the user's.
        """
        try:
            for finder in [finder for finder in sys.meta_path if finder is not self]:
                spec = finder.find_spec(name, path, target) if hasattr(finder, "find_spec") else None
                if spec is not None:
                    if _is_own(spec):
                        raise ImportError(f"{name} is the user's", name=name)
                    self._has_run_code = True
                    return spec
        except ImportError:
            self.is_tainted = self.is_tainted or self._has_run_code
            raise
        return None


def _is_own(spec: ModuleSpec) -> bool:
    """Return whether a module is the user's."""
    if spec.has_location and spec.origin:
        return not is_installed(spec.origin)
    return bool(own_directories(spec.submodule_search_locations or ()))
