"""How clients reach a scheduler: a Unix socket that only the user can reach, or loopback TCP that is encrypted.

An engine "at a TCP port of this machine" has the port as a name and reserves the port, but nothing listens there:
clients look the Unix socket up by that name (:mod:`scaler_notebook.engines.local.client.connection_file`), so no other
user can connect.

Where there are no Unix sockets, anybody on the machine can connect to the port. There the scheduler proves its
identity by a CURVE key, and accepts one client key alone. Both pairs are made for one scheduler and sent through the
pipe that is the scheduler's stdin; the one file that has them, the connection file, only the user can read. Who does
not know the keys can make a limited number of connections, and send frames of a limited size for a limited time.
"""

import errno
import os
import socket
from dataclasses import asdict, dataclass

import zmq

from scaler_notebook.protocol.errors import EngineStartError

from .frame_pieces import PIECE
from .runtime_directory import SOCKET

VARIABLE = "SCALER_NOTEBOOK_TRANSPORT"  # "ipc" or "tcp"; for tests, and where :func:`needs_keys` guesses wrongly
HANDSHAKE_TIME = 5_000  # milliseconds in which a connection must have authenticated
LARGEST_FRAME = PIECE + 1024  # bytes, with what encryption adds


@dataclass(frozen=True, slots=True)
class Keys:
    """Two CURVE key pairs, as Z85 text."""

    server_public: str
    server_secret: str
    client_public: str
    client_secret: str

    @classmethod
    def new(cls) -> "Keys":
        """Generate two pairs."""
        texts = [key.decode() for pair in (zmq.curve_keypair(), zmq.curve_keypair()) for key in pair]
        return cls(*texts)

    def as_dict(self) -> dict[str, str]:
        """Return the keys in the form of the scheduler's configuration."""
        return asdict(self)


def needs_keys() -> bool:
    """Return whether clients must connect by TCP on this system, and so need keys."""
    default = "ipc" if hasattr(socket, "AF_UNIX") and zmq.has("ipc") else "tcp"
    return os.environ.get(VARIABLE, default) == "tcp"


def bind(clients: "zmq.Socket[bytes]", directory: str, keys: Keys | None, port: int = 0) -> str:
    """Bind the scheduler's socket, and return the address that clients connect to.

    Parameters
    ----------
    clients
        The socket.
    directory
        The directory for a Unix socket.
    keys
        The keys to a TCP socket; None for a Unix socket.
    port
        The port of a TCP socket; 0 for any free one.

    Raises
    ------
    EngineStartError
        The port is not available.
    """
    if keys is None:
        address = f"ipc://{directory}/{SOCKET}"
        clients.bind(address)
        return address
    limit_strangers(clients)
    from zmq.auth.thread import ThreadAuthenticator  # imported here: asyncio, which only this needs, takes 20 ms

    # Started before the socket is bound: no client may connect without authentication.
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


def limit_strangers(clients: "zmq.Socket[bytes]") -> None:
    """Limit what a connection may send before it has authenticated, and how long that may take.

    Parameters
    ----------
    clients
        The scheduler's socket, before it is bound.
    """
    clients.maxmsgsize = LARGEST_FRAME
    clients.handshake_ivl = HANDSHAKE_TIME


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
        raise _port_error(port, error) from error
    return reserved


def _port_error(port: int, error: OSError | zmq.ZMQError) -> EngineStartError:
    """Return the error of a port that is not available."""
    why = "another program uses it" if error.errno == errno.EADDRINUSE else str(error)
    return EngineStartError(f"the port {port} cannot be had: {why}. Choose another, or port 0 for any")


def connect(client: "zmq.Socket[bytes]", address: str, keys: Keys | None) -> None:
    """Connect a client's socket to a scheduler.

    Parameters
    ----------
    client
        The socket.
    address
        The address that :func:`bind` gave.
    keys
        The keys to a TCP socket; None for a Unix socket.
    """
    if keys is not None:
        client.curve_serverkey = keys.server_public.encode()
        client.curve_publickey = keys.client_public.encode()
        client.curve_secretkey = keys.client_secret.encode()
    client.connect(address)


class _SingleKey:
    """The credentials provider of zmq's authenticator that accepts one client key.

    Parameters
    ----------
    key
        The public key, as Z85 text.
    """

    def __init__(self, key: str) -> None:
        self._key = zmq.utils.z85.decode(key.encode())

    def callback(self, domain: str, key: bytes) -> bool:
        """Return whether this is the key. Called by zmq, with the key in binary or as Z85 text.

        Parameters
        ----------
        domain
            The ZAP domain, which has no meaning here.
        key
            The public key of the client.
        """
        return key in (self._key, zmq.utils.z85.encode(self._key))
