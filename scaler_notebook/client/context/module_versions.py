"""The version of a file that the notebook has imported: its stamp and sum when the import system found it."""

import ast
import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TypeAlias

from scaler_notebook.task.modules.installation import file_stamp, file_sum, is_installed

from .module_values import note_values_at_import

Version: TypeAlias = tuple[str, int | None]  # the stamp of a file, and a sum of its bytes; None if it is not known

_VERSION_ATTRIBUTE = "scaler_notebook_version"  # an attribute of specs: the import system keeps them with their modules


class _VersionFinder(MetaPathFinder):
    """Finds what ``PathFinder`` does, and notes the version of each file of the user's before it is executed."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.has_location and spec.origin and not is_installed(spec.origin):
            setattr(spec, _VERSION_ATTRIBUTE, version(spec.origin))
            note_values_at_import(spec)
        return spec


def watch_imports() -> None:
    """Note the versions of modules that are imported from now on."""
    finders = sys.meta_path
    if not any(type(finder) is _VersionFinder for finder in finders):
        finders.insert(finders.index(PathFinder) if PathFinder in finders else len(finders), _VersionFinder())


def version(file: str, spec: ModuleSpec | None = None) -> Version:
    """Return the version of a file.

    Parameters
    ----------
    file
        The path of the file.
    spec
        The spec of the file's module, for the version that was imported; None: for the version that is there now.
    """
    noted: Version | None = getattr(spec, _VERSION_ATTRIBUTE, None)
    if noted is not None:
        return noted
    stamp = file_stamp(file)
    if spec is not None and _was_edited(file, spec):
        return stamp + " and before", None
    return stamp, file_sum(file)


def imported_by(file: str, name: str) -> frozenset[str]:
    """Return the names of the modules that a module's source imports, and of names in them, which may be modules too.

    Parameters
    ----------
    file
        The path of the source.
    name
        The name of the module.
    """
    try:
        with open(file, "rb") as content:
            tree = ast.parse(content.read())
    except (OSError, ValueError, SyntaxError):
        return frozenset()
    package = name if os.path.basename(file).startswith("__init__.") else name.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: len(package.split(".")) + 1 - node.level]) if node.level else ""
            whole = ".".join(filter(None, (above, node.module)))
            names.update({whole}, (f"{whole}.{each.name}" for each in node.names))
    return frozenset(names)


def _was_edited(file: str, spec: ModuleSpec) -> bool:
    """Whether a file was edited after its module was imported unnoticed, as far as its bytecode tells.

    Parameters
    ----------
    file
        The path of the file.
    spec
        The spec of the module.
    """
    try:
        status = os.stat(file)
        if status.st_mtime < _started() or not spec.cached:
            return False
        with open(spec.cached, "rb") as bytecode:
            header = bytecode.read(16)
    except OSError:
        return False
    numbers = [int.from_bytes(header[place : place + 4], "little") for place in (4, 8, 12)]
    return numbers[0] == 0 and numbers[1:] != [int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF]


@cache
def _started() -> float:
    """Return the time, in seconds since the epoch, at which this process started."""
    import psutil

    return psutil.Process().create_time()
