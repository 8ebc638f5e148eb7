"""The user's modules in a process that runs tasks: they come from the files from which the notebook has them."""

import json
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from types import ModuleType

from ..protocol.installation import is_installed


class NotebookModules(MetaPathFinder):
    """Finds a module in the file from which the notebook has imported it, wherever ``sys.path`` would lead.

    The notebook may have imported the module before it changed its directory or its path, or by the path of a file.
    """

    def __init__(self) -> None:
        self._text = ""
        self._known: dict[str, list[str] | str] = {}
        sys.meta_path.insert(0, self)

    def adopt(self, text: str) -> list[str]:
        """Take on what :attr:`ClientContext.modules` says.

        Returns
        -------
        list
            The names of modules that are imported here from the installation, where the notebook has the user's own.
        """
        if text == self._text:
            return []
        self._text = text
        self._known = json.loads(text) if text else {}
        return [name for name, found in self._known.items() if not isinstance(found, str) and _is_other(name, found[0])]

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find a module that the notebook has; raise ImportError if a task cannot have it as the notebook does."""
        found = self._known.get(name)
        if found is None:
            return None
        if isinstance(found, str):
            raise ImportError(f"a task cannot import the module {name!r} as the notebook has it: {found}", name=name)
        file, *directories = found
        if not file:
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = directories
            return spec
        return spec_from_file_location(name, file, submodule_search_locations=directories or None) or (
            spec_from_file_location(name, file, loader=SourceFileLoader(name, file))  # whatever its name ends with
        )


def _is_other(name: str, file: str) -> bool:
    there = getattr(sys.modules.get(name), "__file__", None)
    return isinstance(there, str) and there != file and is_installed(there)
