"""The user's private directory, in which each engine has a directory named after the process that owns the engine."""

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from scaler_notebook.protocol.errors import EngineStartError

NAMESPACE = "namespace"  # name of a file in an engine's directory: the process namespace of the owner
SOCKET = "scheduler"  # name of the Unix socket in an engine's directory
MAX_SOCKET_PATH = 100  # bytes; the system's limit is 107 on Linux, 103 on macOS
STALE_AFTER = 60.0  # seconds since a directory was changed; a younger one may belong to an engine that starts
LAST_RESORT = "/tmp"  # used where TMPDIR is too long for a socket


def process_namespace() -> int:
    """Return the number of this process's PID namespace, in which containers differ; 0 if unknown."""
    with contextlib.suppress(OSError):
        return os.stat("/proc/self/ns/pid").st_ino
    return 0


def _candidates() -> list[Path]:
    """Return where the user's private directory may be, the preferred path first.

    Another user may have made one of them; not the last, which lies in the user's home directory.
    """
    parents = [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), LAST_RESORT, os.path.expanduser("~/.cache")]
    named = [Path(parent) / f"scaler_notebook-{os.getuid()}" for parent in filter(None, parents)]
    return [base for base in named if _suits_a_socket(base)]


def _suits_a_socket(base: Path) -> bool:
    """Return whether a path is short enough for an engine's socket below it."""
    try:
        return len(str(base).encode()) <= MAX_SOCKET_PATH - 40  # for the engine's directory and the socket's name
    except UnicodeEncodeError:  # ZeroMQ's addresses are UTF-8
        return False


def _is_private(base: Path) -> bool:
    """Return whether a path is a directory of this user, and no link to one."""
    info = base.lstat()
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid()


def private_base() -> Path:
    """Return the user's private directory, and make it if there is none.

    Raises
    ------
    EngineStartError
        No such directory can be made, or all belong to other users.
    """
    problem = "no directory for temporary files"
    for base in _candidates():
        try:
            base.mkdir(mode=0o700, parents=base.parent.name == ".cache", exist_ok=True)
            if not _is_private(base):
                problem = f"{base} belongs to somebody else"
                continue
            base.chmod(0o700)
            return base
        except OSError as error:
            problem = str(error)
    raise EngineStartError(
        f"no private directory for the engine's socket: {problem}. Set TMPDIR or XDG_RUNTIME_DIR to a short path "
        "that you can write to."
    )


def engine_directories() -> Iterator[Path]:
    """Yield the directories of all engines of this user, also of engines that were killed.

    Every candidate is searched, because the environment variables of a service and of a terminal differ.
    """
    runtime = Path(f"/run/user/{os.getuid()}") / f"scaler_notebook-{os.getuid()}"
    for base in dict.fromkeys([*_candidates(), runtime]):
        with contextlib.suppress(OSError):
            if _is_private(base):
                yield from sorted(base.iterdir())


def remove_engine(directory: Path, link: str) -> None:
    """Remove an engine's directory, and the link to the engine's socket.

    Parameters
    ----------
    directory
        The directory.
    link
        The path of the link, which is left alone if it leads elsewhere by now; empty for none.
    """
    with contextlib.suppress(OSError):
        if link and os.readlink(link) == str(directory / SOCKET):
            os.unlink(link)
    shutil.rmtree(directory, ignore_errors=True)


def write_namespace(directory: Path) -> None:
    """Note in an engine's new directory which PID namespace the number in the directory's name belongs to."""
    (directory / NAMESPACE).write_text(str(process_namespace()))


def _namespace_of(directory: Path) -> int:
    """Return what :func:`write_namespace` noted; this process's namespace if there is nothing."""
    try:
        return int((directory / NAMESPACE).read_text())
    except (OSError, ValueError):
        return process_namespace()


def remove_stale(base: Path) -> None:
    """Remove the directories of engines whose owner no longer exists, and that had no chance to clean up."""
    for directory in base.iterdir():
        pid, _, _ = directory.name.partition("-")
        if _namespace_of(directory) != process_namespace():
            continue  # the number is that of a process in another container
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            with contextlib.suppress(OSError):
                if time.time() - directory.stat().st_mtime > STALE_AFTER:
                    shutil.rmtree(directory, ignore_errors=True)
