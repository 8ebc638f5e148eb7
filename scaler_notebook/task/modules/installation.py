"""Which modules belong to the Python installation, and which are the user's own."""

import os
import site
import sysconfig
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from zlib import crc32

_OURS = str(Path(__file__).parents[2])


def _directories() -> tuple[str, ...]:
    found = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    with suppress(Exception):  # an embedded interpreter may have no site
        found.update(site.getsitepackages(), [site.getusersitepackages()])
    found.add(_OURS)
    return tuple({form + os.sep for path in found if path for form in (path, os.path.realpath(path))})


_DIRECTORIES = _directories()


def is_installed(path: str) -> bool:
    """Is this file or directory a part of the standard library, of an installed package, or of ours?

    A project that is installed in editable mode stays where its author edits it, and is the user's.
    """
    return path.startswith(_DIRECTORIES) or (path + os.sep).startswith(_DIRECTORIES)


def own_location(module: object) -> str:
    """Where a module of the user's own lies: its file, or the directories of a namespace package.

    Empty for what is installed or built in, and for what lies nowhere.
    """
    try:
        attributes = object.__getattribute__(module, "__dict__")  # a lazy module must not be woken
        file = attributes.get("__file__")
        if isinstance(file, str):
            return "" if file.startswith((*_DIRECTORIES, "<")) else file
        return own_directories(attributes.get("__path__") or ())
    except Exception:  # whatever was put into sys.modules
        return ""


def own_directories(paths: Iterable[str]) -> str:
    """The directories of a namespace package that has one of the user's, as one text; empty if it has none."""
    listed = [path for path in paths if isinstance(path, str)]
    return os.pathsep.join(listed) if any(not is_installed(path) for path in listed) else ""


def installed_first(path: Iterable[object]) -> list[str]:
    """The entries of ``sys.path``, so that no file of the user's is found instead of one that is installed."""
    entries = [os.path.abspath(entry) for entry in path if isinstance(entry, str)]
    return sorted(entries, key=lambda entry: not is_installed(entry))


def file_sum(file: str) -> int | None:
    """A sum of a file's bytes, to tell whether it is the same; None if there is none."""
    try:
        with open(file, "rb") as content:
            return crc32(content.read())
    except OSError:
        return None


def file_stamp(file: str) -> str:
    """What changes when a file is written; ``gone`` if there is none."""
    try:
        status = os.stat(file)
    except OSError:
        return "gone"
    return f"{status.st_mtime_ns}-{status.st_size}"
