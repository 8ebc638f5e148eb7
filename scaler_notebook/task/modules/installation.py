"""The distinction between modules of the Python installation and the user's own modules."""

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
    """Return whether a file or directory is part of the standard library, an installed package, or this package.

    A project that is installed in editable mode stays where its author edits it, and is the user's.
    """
    return path.startswith(_DIRECTORIES) or (path + os.sep).startswith(_DIRECTORIES)


def own_location(module: object) -> str:
    """Return where a module of the user's own is: its file, or the directories of a namespace package.

    Empty for modules that are installed or built in, and for modules without a location.
    """
    try:
        attributes = object.__getattribute__(module, "__dict__")  # a lazy module must not be loaded
        file = attributes.get("__file__")
        if isinstance(file, str):
            return "" if file.startswith((*_DIRECTORIES, "<")) else file
        return own_directories(attributes.get("__path__") or ())
    except Exception:  # sys.modules may contain any object
        return ""


def own_directories(paths: Iterable[str]) -> str:
    """Return the directories of a namespace package as one text, if one of them is the user's; else an empty text."""
    listed = [path for path in paths if isinstance(path, str)]
    return os.pathsep.join(listed) if any(not is_installed(path) for path in listed) else ""


def installed_first(path: Iterable[object]) -> list[str]:
    """Return the entries of ``sys.path``, installed ones first, so that no user's file hides an installed module."""
    entries = [os.path.abspath(entry) for entry in path if isinstance(entry, str)]
    return sorted(entries, key=lambda entry: not is_installed(entry))


def file_sum(file: str) -> int | None:
    """Return a checksum of a file's content; None if there is no such file."""
    try:
        with open(file, "rb") as content:
            return crc32(content.read())
    except OSError:
        return None


def file_stamp(file: str) -> str:
    """Return a text that changes when a file is written; ``gone`` if there is no such file."""
    try:
        status = os.stat(file)
    except OSError:
        return "gone"
    return f"{status.st_mtime_ns}-{status.st_size}"
