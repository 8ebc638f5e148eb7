"""ZeroMQ over loopback TCP with CURVE keys, where there are no Unix sockets.

Anybody on the machine can connect to the port. So the scheduler proves its identity by a key, and accepts one client
key alone. Both pairs are made for one scheduler and sent through the pipe that is the scheduler's stdin; the one file
that has them, the connection file, only the user can read. Who does not know the keys can make a limited number of
connections, and send frames of a limited size for a limited time.
"""

import zmq
import zmq.utils.z85
from zmq.auth.thread import ThreadAuthenticator

from scaler_notebook.engines.local.ipc.transport import Keys, port_error

from .frame_pieces import PIECE

HANDSHAKE_TIME = 5_000  # milliseconds in which a connection must have authenticated
LARGEST_FRAME = PIECE + 1024  # bytes, with what encryption adds


def bind(clients: "zmq.Socket[bytes]", keys: Keys, port: int = 0) -> str:
    """Bind the scheduler's socket to a TCP port, and return the address that clients connect to.

    Parameters
    ----------
    clients
        The socket.
    keys
        The keys that clients need.
    port
        The port; 0 for any free one.

    Raises
    ------
    EngineStartError
        The port is not available.
    """
    limit_strangers(clients)
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
        raise port_error(port, error) from error
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


def connect(client: "zmq.Socket[bytes]", address: str, keys: Keys) -> None:
    """Connect a client's socket to a scheduler.

    Parameters
    ----------
    client
        The socket.
    address
        The address that :func:`bind` gave.
    keys
        The keys.
    """
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
