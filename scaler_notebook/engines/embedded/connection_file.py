"""How an engine's address alone is enough for its owner, and useless to others: a file that only the owner can read.

It lies in the engine's own private directory and goes with it, so that what it says is true as long as it is there.
"""

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from .transport import Keys

NAME = "connection.json"


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach an engine."""

    address: str
    pid: int  # of its scheduler
    keys: Keys | None


def write(directory: Path, connection: Connection) -> None:
    """Tell the user's other processes of an engine."""
    keys = connection.keys.as_dict() if connection.keys is not None else None
    text = json.dumps({"address": connection.address, "pid": connection.pid, "keys": keys})
    descriptor = os.open(directory / NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        file.write(text)


def find(address: str) -> Connection | None:
    """The engine of this user at an address, if its scheduler lives."""
    from .launcher import private_base

    for path in private_base().glob(f"*/{NAME}"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # it is going away, or was never whole
            found = json.loads(path.read_text())
            if found["address"] == address:
                os.kill(found["pid"], 0)
                keys = Keys(**found["keys"]) if found["keys"] is not None else None
                return Connection(found["address"], found["pid"], keys)
    return None
