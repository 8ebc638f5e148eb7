"""Which version of a file the notebook has imported: what the file was when the import system found it."""

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

Version: TypeAlias = tuple[str, int | None]  # the stamp of a file, and a sum of its bytes; None if it is not known

_VERSION_ATTRIBUTE = "scaler_notebook_version"  # an attribute of specs: the import system keeps them with their modules


class _VersionFinder(MetaPathFinder):
    """Finds what ``PathFinder`` does, and notes the version of each file of the user's before it is executed."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.has_location and spec.origin and not is_installed(spec.origin):
            setattr(spec, _VERSION_ATTRIBUTE, version(spec.origin))
        return spec


def watch_imports() -> None:
    """Note the versions of modules that are imported from now on."""
    finders = sys.meta_path
    if not any(type(finder) is _VersionFinder for finder in finders):
        finders.insert(finders.index(PathFinder) if PathFinder in finders else len(finders), _VersionFinder())


def version(file: str, spec: ModuleSpec | None = None) -> Version:
    """The version of a file as it is, or, with the spec of its module, as it was imported."""
    noted: Version | None = getattr(spec, _VERSION_ATTRIBUTE, None)
    if noted is not None:
        return noted
    stamp = file_stamp(file)
    if spec is not None and _was_edited(file, spec):
        return stamp + " and before", None
    return stamp, file_sum(file)


def imported_by(file: str, name: str) -> frozenset[str]:
    """The names of all that the source of a module imports, and of what it may import as a part of that."""
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
    """Is a file newer than the module that nobody saw being imported? It is if the bytecode says so."""
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
    import psutil

    return psutil.Process().create_time()
