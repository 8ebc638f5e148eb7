"""Importing ahead of need: what is installed, and nothing of the user's."""

import importlib
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from scaler_notebook.task.modules.installation import is_installed, own_directories


class PrewarmImporter(MetaPathFinder):
    """Within it (``with``) a module of the user's cannot be imported; it is first among the finders."""

    def __init__(self) -> None:
        self.spoilt = False  # an installed module has met one of the user's, and is not what it would be in a task
        self._begun = False  # the current import has begun to run a module

    def __enter__(self) -> "PrewarmImporter":
        sys.meta_path.insert(0, self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)

    def import_module(self, name: str) -> None:
        """Import a module if it is found in the installation; what it raises is the business of who needs it."""
        self._begun = False
        with suppress(Exception):
            importlib.import_module(name)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Have the other finders find a module; raise ImportError if it is the user's."""
        try:
            for finder in [finder for finder in sys.meta_path if finder is not self]:
                spec = finder.find_spec(name, path, target) if hasattr(finder, "find_spec") else None
                if spec is not None:
                    if _is_own(spec):
                        raise ImportError(f"{name} is the user's", name=name)
                    self._begun = True
                    return spec
        except ImportError:
            self.spoilt = self.spoilt or self._begun
            raise
        return None


def _is_own(spec: ModuleSpec) -> bool:
    if spec.has_location and spec.origin:
        return not is_installed(spec.origin)
    return bool(own_directories(spec.submodule_search_locations or ()))
