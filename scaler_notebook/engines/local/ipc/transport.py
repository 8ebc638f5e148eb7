"""How clients reach a scheduler: a Unix socket that only the user can reach, or loopback TCP that is encrypted.

An engine "at a TCP port of this machine" has the port as a name and reserves the port, but nothing listens there:
clients look the Unix socket up by that name (:mod:`scaler_notebook.engines.local.client.connection_file`), so no other
user can connect.

Where there are no Unix sockets, clients connect to the port, by ZeroMQ and with keys (:mod:`.tcp.curve`).
"""

import errno
import os
import socket
from dataclasses import asdict
from typing import Any

from scaler_notebook.protocol.errors import EngineStartError
from scaler_notebook.protocol.frozen import frozen

from .runtime_directory import SOCKET

UNIX = "ipc://"  # before the path of a Unix socket, in an address; as in ZeroMQ's addresses
VARIABLE = "SCALER_NOTEBOOK_TRANSPORT"  # "ipc" or "tcp"; for tests, and where :func:`needs_keys` guesses wrongly


@frozen
class Keys:
    """Two CURVE key pairs, as Z85 text."""

    server_public: str
    server_secret: str
    client_public: str
    client_secret: str

    @classmethod
    def new(cls) -> "Keys":
        """Generate two pairs."""
        import zmq  # here, because only a scheduler at a TCP port needs it

        texts = [key.decode() for pair in (zmq.curve_keypair(), zmq.curve_keypair()) for key in pair]
        return cls(*texts)

    def as_dict(self) -> dict[str, str]:
        """Return the keys in the form of the scheduler's configuration."""
        return asdict(self)


def needs_keys() -> bool:
    """Return whether clients must connect by TCP on this system, and so need keys."""
    default = "ipc" if hasattr(socket, "AF_UNIX") else "tcp"
    return os.environ.get(VARIABLE, default) == "tcp"


def reserve_port(port: int) -> socket.socket:
    """Reserve a TCP port of this machine: no other program gets the port while the returned socket is open.

    Nothing listens on the port.

    Parameters
    ----------
    port
        The number; 0 for any free port.

    Raises
    ------
    EngineStartError
        The port is not available.
    """
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        reserved.bind(("127.0.0.1", port))
    except OSError as error:
        reserved.close()
        raise port_error(port, error) from error
    return reserved


def port_error(port: int, error: Any) -> EngineStartError:
    """Return the error of a port that is not available.

    Parameters
    ----------
    port
        The number.
    error
        What the system has raised, or ZeroMQ: both have an ``errno``.
    """
    why = "another program uses it" if error.errno == errno.EADDRINUSE else str(error)
    return EngineStartError(f"the port {port} cannot be had: {why}. Choose another, or port 0 for any")


def socket_address(directory: str) -> str:
    """Return the address of the Unix socket in an engine's directory."""
    return f"{UNIX}{directory}/{SOCKET}"


def socket_path(address: str) -> str:
    """Return the path in the address of a Unix socket."""
    return address.removeprefix(UNIX)
