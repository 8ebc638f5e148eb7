"""Waiting for a descriptor of any number: ``select`` refuses those from 1,024 on.

A notebook has so many where it has as many files, sockets or results with large arrays.
"""

import select
from typing import Protocol


class _HasDescriptor(Protocol):
    def fileno(self) -> int:
        """Return the descriptor."""


def wait_until_ready(file: int | _HasDescriptor, timeout: float | None, events: int = select.POLLIN) -> int:
    """Wait for one of several events of a file, and return those that have come; 0 after the time-out.

    Parameters
    ----------
    file
        The file, or its descriptor.
    timeout
        Seconds to wait at most; None for any time.
    events
        ``select.POLLIN``, ``select.POLLOUT`` or both.
    """
    poll = select.poll()
    poll.register(file, events)
    found = poll.poll(None if timeout is None else max(0.0, timeout) * 1000)
    return found[0][1] if found else 0
