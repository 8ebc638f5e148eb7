"""How clients reach a scheduler: a Unix socket that only the user can reach, or loopback TCP that is encrypted.

An engine "at a TCP port of this machine" has the port for a name, and keeps it from others; nothing listens there.
Clients find its Unix socket by that name (:mod:`scaler_notebook.engines.local.client.connection_file`), and nobody else
can even knock.

Where there are no Unix sockets, anybody on the machine could connect to the port. So the scheduler proves who it is by
its CURVE key, and accepts one client key alone. Both pairs are made for one scheduler and travel to it through the pipe
that is its stdin; the one file that has them (:mod:`scaler_notebook.engines.local.client.connection_file`) only the
user can read.
"""

import errno
import os
import socket
from dataclasses import asdict, dataclass

import zmq

from scaler_notebook.protocol.errors import EngineStartError

from .runtime_directory import SOCKET

VARIABLE = "SCALER_NOTEBOOK_TRANSPORT"  # "ipc" or "tcp"; for tests, and for systems on which the guess is wrong


@dataclass(frozen=True, slots=True)
class Keys:
    """Two CURVE key pairs, as Z85 text."""

    server_public: str
    server_secret: str
    client_public: str
    client_secret: str

    @classmethod
    def new(cls) -> "Keys":
        """Pairs that nobody else has."""
        texts = [key.decode() for pair in (zmq.curve_keypair(), zmq.curve_keypair()) for key in pair]
        return cls(*texts)

    def as_dict(self) -> dict[str, str]:
        """For the scheduler's configuration."""
        return asdict(self)


def needs_keys() -> bool:
    """Must clients come by TCP here?"""
    default = "ipc" if hasattr(socket, "AF_UNIX") and zmq.has("ipc") else "tcp"
    return os.environ.get(VARIABLE, default) == "tcp"


def bind(clients: "zmq.Socket[bytes]", directory: str, keys: Keys | None, port: int = 0) -> str:
    """Open the scheduler's end; gives the address that clients connect to.

    Parameters
    ----------
    directory
        Where the socket is made, unless there are keys.
    keys
        Of a TCP socket.
    port
        Of a TCP socket; 0 for any that is free.

    Raises
    ------
    EngineStartError
        The port cannot be had.
    """
    if keys is None:
        address = f"ipc://{directory}/{SOCKET}"
        clients.bind(address)
        return address
    from zmq.auth.thread import ThreadAuthenticator  # with asyncio; who needs no keys starts 20 ms sooner

    # Before the socket is bound: from then on it decides who may come in.
    authenticator = ThreadAuthenticator(clients.context)
    authenticator.start()
    authenticator.configure_curve_callback(credentials_provider=_SingleKey(keys.client_public))
    clients.curve_server = True
    clients.curve_publickey = keys.server_public.encode()
    clients.curve_secretkey = keys.server_secret.encode()
    if not port:
        return f"tcp://127.0.0.1:{clients.bind_to_random_port('tcp://127.0.0.1')}"
    address = f"tcp://127.0.0.1:{port}"
    try:
        clients.bind(address)
    except zmq.ZMQError as error:
        raise _port_error(port, error) from error
    return address


def reserve_port(port: int) -> socket.socket:
    """A TCP port of this machine for a name: nobody else gets it while the socket is open, and nothing listens.

    Parameters
    ----------
    port
        0 for any that is free.

    Raises
    ------
    EngineStartError
        The port cannot be had.
    """
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        reserved.bind(("127.0.0.1", port))
    except OSError as error:
        reserved.close()
        raise _port_error(port, error) from error
    return reserved


def _port_error(port: int, error: OSError | zmq.ZMQError) -> EngineStartError:
    why = "another program uses it" if error.errno == errno.EADDRINUSE else str(error)
    return EngineStartError(f"the port {port} cannot be had: {why}. Choose another, or port 0 for any")


def connect(client: "zmq.Socket[bytes]", address: str, keys: Keys | None) -> None:
    """Open a client's end."""
    if keys is not None:
        client.curve_serverkey = keys.server_public.encode()
        client.curve_publickey = keys.client_public.encode()
        client.curve_secretkey = keys.client_secret.encode()
    client.connect(address)


class _SingleKey:
    """Lets one key in."""

    def __init__(self, key: str) -> None:
        self._key = zmq.utils.z85.decode(key.encode())

    def callback(self, domain: str, key: bytes) -> bool:
        return key in (self._key, zmq.utils.z85.encode(self._key))
