"""Ports for programs that are told theirs, and bind them some time later."""

from __future__ import annotations

import random
import socket
from pathlib import Path

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 10_000
_given: set[int] = set()


def free_port() -> int:
    """One that is free, and that the system gives to nobody who asks it for any port.

    A port that the system has chosen, and that was closed again, may be another program's before the one that was told
    it comes to bind it: each connection and each kernel takes some of them.
    """
    first_ephemeral = int(EPHEMERAL.read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(LOWEST, first_ephemeral)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
