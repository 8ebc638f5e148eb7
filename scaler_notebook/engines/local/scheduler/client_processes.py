"""The processes of clients: when one ends, whatever ends it, its clients are gone."""

import contextlib
import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import psutil

INTERVAL = 1.0  # seconds between two looks at processes that tell nobody of their end


@dataclass(slots=True)
class _Watched:
    """A process, and the clients in it."""

    descriptor: int | None  # a pidfd; None: the process is looked at now and then
    process: psutil.Process | None  # for that
    clients: set[bytes] = field(default_factory=set)


class ClientProcesses:
    """Watches the processes that clients have attached from.

    Parameters
    ----------
    selector
        The scheduler's; a key's data is called without arguments when its file is ready.
    gone
        Called with each client of a process that has ended.
    """

    def __init__(self, selector: selectors.BaseSelector, gone: Callable[[bytes], None]) -> None:
        self._selector, self._gone = selector, gone
        self._watched: dict[int, _Watched] = {}  # by number
        self._of: dict[bytes, int] = {}  # by client
        self._next_look = 0.0

    def add(self, client: bytes, pid: int) -> None:
        """Watch the process of a client; one that cannot be watched (of another user's, say) is left alone.

        Raises
        ------
        ProcessLookupError
            There is no such process.
        """
        if pid not in self._watched:
            watched = _watch(pid)
            if watched is None:
                return
            self._watched[pid] = watched
            if watched.descriptor is not None:
                self._selector.register(watched.descriptor, selectors.EVENT_READ, partial(self._ended, pid))
        self._watched[pid].clients.add(client)
        self._of[client] = pid

    def remove(self, client: bytes) -> None:
        """Watch the process of a client that is gone no longer, unless it has others."""
        pid = self._of.pop(client, 0)
        watched = self._watched.get(pid)
        if watched is None:
            return
        watched.clients.discard(client)
        if not watched.clients:
            del self._watched[pid]
            if watched.descriptor is not None:
                self._selector.unregister(watched.descriptor)
                os.close(watched.descriptor)

    @property
    def deadline(self) -> float | None:
        """When :meth:`check` must be called, in monotonic seconds; None if every process tells of its end."""
        if any(watched.descriptor is None for watched in self._watched.values()):
            return self._next_look
        return None

    def check(self) -> None:
        """Look at the processes that do not tell of their end, if it is time."""
        deadline, now = self.deadline, time.monotonic()
        if deadline is None or now < deadline:
            return
        self._next_look = now + INTERVAL
        for pid, watched in list(self._watched.items()):
            if watched.process is not None and not _is_alive(watched.process):
                self._ended(pid)

    def _ended(self, pid: int) -> None:
        for client in list(self._watched[pid].clients):
            self._gone(client)


def _watch(pid: int) -> _Watched | None:
    try:
        return _Watched(os.pidfd_open(pid), None)
    except ProcessLookupError:
        raise
    except OverflowError:  # no number of a process
        return None
    except (OSError, AttributeError):  # no such descriptors here, or none left
        pass
    try:
        process = psutil.Process(pid)
        return _Watched(None, process) if _is_alive(process) else None
    except psutil.NoSuchProcess as error:
        raise ProcessLookupError(str(error)) from error
    except (psutil.Error, ValueError):
        return None


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
