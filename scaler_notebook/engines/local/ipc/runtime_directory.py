"""Where engines are: the user's private directory, in which each has its own, named after the process that owns it."""

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from scaler_notebook.protocol.errors import EngineStartError

NAMESPACE = "namespace"  # name of a file in the engine's directory
SOCKET = "scheduler"  # its name in the engine's directory
MAX_SOCKET_PATH = 100  # bytes; the system's limit is 107 on Linux, 103 on macOS
LAST_RESORT = "/tmp"  # where TMPDIR is too long for a socket


def process_namespace() -> int:
    """Where numbers of processes mean what they mean here: containers may share a directory. 0 where there is one."""
    with contextlib.suppress(OSError):
        return os.stat("/proc/self/ns/pid").st_ino
    return 0


def _candidates() -> list[Path]:
    """The user's directories, the first of them the one to use; one may belong to somebody else.

    The last one lies where nobody else can have made a directory of its name.
    """
    parents = [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), LAST_RESORT, os.path.expanduser("~/.cache")]
    named = [Path(parent) / f"scaler_notebook-{os.getuid()}" for parent in filter(None, parents)]
    return [base for base in named if _suits_a_socket(base)]


def _suits_a_socket(base: Path) -> bool:
    try:
        return len(str(base).encode()) <= MAX_SOCKET_PATH - 40  # for what each engine adds
    except UnicodeEncodeError:  # a name that is no UTF-8 is no address of ZeroMQ's
        return False


def _is_private(base: Path) -> bool:
    info = base.lstat()
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid()


def private_base() -> Path:
    """The directory that only this user can enter, in which every engine has its own.

    Raises
    ------
    EngineStartError
        It cannot be made, or it belongs to somebody else.
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
    """Of all engines of this user, those that have ended without a chance to clean up included.

    A server that the system started and a terminal differ in their variables: so it looks wherever engines may be.
    """
    runtime = Path(f"/run/user/{os.getuid()}") / f"scaler_notebook-{os.getuid()}"
    for base in dict.fromkeys([*_candidates(), runtime]):
        with contextlib.suppress(OSError):
            if _is_private(base):
                yield from sorted(base.iterdir())


def remove_engine(directory: Path, link: str) -> None:
    """An engine's directory, and the link that leads to its socket if it is still its own."""
    with contextlib.suppress(OSError):
        if link and os.readlink(link) == str(directory / SOCKET):
            os.unlink(link)
    shutil.rmtree(directory, ignore_errors=True)


def write_namespace(directory: Path) -> None:
    """Write down in an engine's new directory where the number in its name is that of a process."""
    (directory / NAMESPACE).write_text(str(process_namespace()))


def _namespace_of(directory: Path) -> int:
    try:
        return int((directory / NAMESPACE).read_text())
    except (OSError, ValueError):
        return process_namespace()


def remove_stale(base: Path) -> None:
    """Remove what engines left whose machine or whose every process was killed: the name holds the kernel's pid."""
    for directory in base.iterdir():
        pid, _, _ = directory.name.partition("-")
        if _namespace_of(directory) != process_namespace():
            continue  # of a container that shares the directory, and has processes of its own
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            with contextlib.suppress(OSError):
                if time.time() - directory.stat().st_mtime > 60:
                    shutil.rmtree(directory, ignore_errors=True)
