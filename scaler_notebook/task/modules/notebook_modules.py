"""The user's modules in a task process, found in the files from which the notebook has imported them."""

import json
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from types import ModuleType

from .installation import file_stamp, file_sum, is_installed


class NotebookModules(MetaPathFinder):
    """A finder of modules in the files from which the notebook has imported them, wherever ``sys.path`` would lead.

    The notebook may have imported a module before it changed its directory or its path, or by the path of a file.
    """

    def __init__(self) -> None:
        self._text = ""
        self._known: dict[str, tuple[str, str, str, int | None, list[str]]] = {}
        sys.meta_path.insert(0, self)

    def adopt(self, text: str) -> list[str]:
        """Take over the modules that :attr:`ClientContext.modules` describes.

        Returns
        -------
        list of str
            The modules that are imported here from the installation, where the notebook has the user's own.
        """
        if text == self._text:
            return []
        self._text = text
        found = json.loads(text) if text else {}
        self._known = {name: (*each[:4], each[4:]) for name, each in found.items()}
        return [name for name, (_, file, *_) in self._known.items() if _is_other(name, file)]

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find a module that the notebook has imported.

        Parameters
        ----------
        name
            The name of the module.
        path
            The search path of the parent package.
        target
            Unused.

        Raises
        ------
        ImportError
            A task cannot have the module as the notebook has it.
        """
        found = self._known.get(name)
        if found is None:
            return None
        why, file, stamp, total, directories = found
        if not why and file and file_stamp(file) != stamp and file_sum(file) != total:
            why = "its file was edited after the task was submitted"
        if why:
            raise ImportError(f"a task cannot import the module {name!r} as the notebook has it: {why}", name=name)
        if not file:
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = directories
            return spec
        return spec_from_file_location(name, file, submodule_search_locations=directories or None) or (
            spec_from_file_location(name, file, loader=SourceFileLoader(name, file))  # the file may have any suffix
        )


def _is_other(name: str, file: str) -> bool:
    there = getattr(sys.modules.get(name), "__file__", None)
    return isinstance(there, str) and there != file and is_installed(there)
