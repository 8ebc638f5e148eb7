"""The addresses of local engines: which are valid, and how an engine claims one that the user has chosen.

The Unix socket of an engine always lies in the engine's private directory. For a path that the user has chosen there
is a symbolic link to the socket: the link is made atomically, shows which engine has the path, and dangles when that
engine is gone.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from scaler_notebook.engines.local.ipc.runtime_directory import SOCKET
from scaler_notebook.protocol.errors import EngineStartError
from scaler_notebook.wording import with_article

from .connection_file import is_taken

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
ANY_HOST = {"0.0.0.0", "::", "*"}
CLUSTERS = "A cluster of several machines is OpenGRIS Scaler's: scaler://HOST:PORT reaches one (Dask's are not reached)"
FORMS = "tcp://127.0.0.1:PORT or ipc:///PATH"
ADVICE = "`scaler-notebook status` lists yours, `scaler-notebook stop` ends them, or choose another"


def checked(address: str, serve: bool = False) -> str:
    """Check an address, and return it in normal form: ``tcp://127.0.0.1:PORT`` or ``ipc:///PATH``.

    Parameters
    ----------
    address
        What the user has given.
    serve
        Is the address for an engine that is to be started? Then port 0, or no port, stands for any free port.

    Raises
    ------
    TypeError
        ``address`` is no text.
    ValueError
        ``address`` is no address of a local engine.
    """
    if not isinstance(address, str):
        raise TypeError(f"an address is a text, {FORMS}, not {with_article(type(address).__name__)}")
    scheme, _, rest = address.partition("://")
    if scheme == "ipc" and rest.startswith("/") and not rest.endswith("/") and "\0" not in rest:
        return f"ipc://{os.path.normpath(rest)}"
    if scheme == "ipc":
        raise ValueError(f"{address!r} is no address of a local engine: ipc:// takes a whole path, ipc:///PATH")
    if scheme != "tcp":
        raise ValueError(f"{address!r} is no address of a local engine: {FORMS}. {CLUSTERS}")
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or ("*" if serve else ""), parts.port
    except ValueError:
        raise ValueError(f"{address!r} has no port between 1 and 65535: {FORMS}") from None
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{address!r} is no address of a local engine: {FORMS}")
    if host not in LOOPBACK | ANY_HOST or (serve and host in ANY_HOST):
        what = "would serve other machines too" if host in ANY_HOST else "is not this machine"
        raise ValueError(
            f"{host} {what}, and a local engine serves one machine alone: tcp://127.0.0.1:{port or 'PORT'}. {CLUSTERS}"
        )
    if not port and not serve:
        raise ValueError(f"{address!r} has no port between 1 and 65535: {FORMS}")
    return f"tcp://127.0.0.1:{port or 0}"


def port_of(address: str) -> int:
    """Return the port of a TCP address that :func:`checked` gave; 0 for any other address."""
    return int(address.rpartition(":")[2]) if address.startswith("tcp:") else 0


def path_of(address: str) -> str:
    """Return the path of an ``ipc://`` address that :func:`checked` gave; empty for any other address."""
    return address.removeprefix("ipc://") if address.startswith("ipc:") else ""


def claim(path: str, socket: str, base: Path) -> None:
    """Make a link to an engine's socket, in place of a link whose engine is gone.

    Parameters
    ----------
    path
        Where the link is to be.
    socket
        The path of the socket.
    base
        The user's directory for engines, which is locked meanwhile: several processes may claim the same path.

    Raises
    ------
    EngineStartError
        There is something else at ``path``, which is left alone; or the link cannot be made.
    """
    with _locked(base):
        try:
            former = os.readlink(path) if os.path.lexists(path) else None  # raises EINVAL for a file
            if former is not None and not _is_engine_socket(former):
                raise OSError(errno.EINVAL, former)
            if former is not None and is_taken(Path(former).parent):
                raise EngineStartError(f"the address ipc://{path} is in use by another engine of yours; {ADVICE}")
            if former is not None:
                os.unlink(path)
            os.symlink(socket, path)
        except EngineStartError:  # which is an OSError, too
            raise
        except OSError as error:
            why = "a file is there already" if error.errno == errno.EINVAL else error.strerror
            raise EngineStartError(
                f"no socket can be made at {path}: {why}. Choose a path that is free, in a directory that you can "
                "write to"
            ) from error


def _is_engine_socket(target: str) -> bool:
    """Return whether a path is the socket of an engine of this user, running or not."""
    return target.endswith(f"/{SOCKET}") and f"/scaler_notebook-{os.getuid()}/" in target


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the file lock of a directory within the ``with`` block."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
