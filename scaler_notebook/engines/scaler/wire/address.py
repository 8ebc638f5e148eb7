"""The addresses of Scaler clusters."""

from urllib.parse import urlsplit

SCHEMES = {"scaler": "tcp", "scaler+tls": "tls"}
FORM = "scaler://HOST:PORT (scaler+tls:// where the scheduler listens on tls://)"


def is_cluster(address: str) -> bool:
    """Return whether an address, right or wrong, has the scheme of a Scaler cluster."""
    return address.partition("://")[0] in SCHEMES


def parsed(address: str) -> str:
    """Return the address as OpenGRIS writes it, ``tcp://host:port``.

    Raises
    ------
    ValueError
        The address is not that of a Scaler cluster.
    """
    scheme = SCHEMES.get(address.partition("://")[0], "")
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not scheme or not host or not port or parts.path not in ("", "/") or parts.query or parts.username:
        raise ValueError(f"{address!r} is no address of an OpenGRIS Scaler cluster: {FORM}")
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
