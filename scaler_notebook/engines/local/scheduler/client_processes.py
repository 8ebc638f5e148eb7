"""The processes of clients: when a process ends, for whatever reason, its clients are gone."""

import contextlib
import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import psutil

INTERVAL = 1.0  # seconds between two checks of processes for which there is no pidfd


@dataclass(slots=True)
class _Watched:
    """A process, and the clients in it."""

    descriptor: int | None  # a pidfd; None if there is none, and the process is checked regularly
    process: psutil.Process | None  # for these checks
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
        self._by_pid: dict[int, _Watched] = {}
        self._pids: dict[bytes, int] = {}  # by client
        self._next_look = 0.0

    def add(self, client: bytes, pid: int) -> None:
        """Watch the process of a client, unless it cannot be watched: another user's, for example.

        Parameters
        ----------
        client
            The client.
        pid
            The number of the process.

        Raises
        ------
        ProcessLookupError
            There is no such process.
        """
        if pid not in self._by_pid:
            watched = _watch(pid)
            if watched is None:
                return
            self._by_pid[pid] = watched
            if watched.descriptor is not None:
                self._selector.register(watched.descriptor, selectors.EVENT_READ, partial(self._ended, pid))
        self._by_pid[pid].clients.add(client)
        self._pids[client] = pid

    def remove(self, client: bytes) -> None:
        """Forget a client that is gone; its process is watched no longer, unless that has other clients."""
        pid = self._pids.pop(client, 0)
        watched = self._by_pid.get(pid)
        if watched is None:
            return
        watched.clients.discard(client)
        if not watched.clients:
            del self._by_pid[pid]
            if watched.descriptor is not None:
                self._selector.unregister(watched.descriptor)
                os.close(watched.descriptor)

    @property
    def deadline(self) -> float | None:
        """When :meth:`check` must be called, in monotonic seconds; None if every process has a pidfd."""
        if any(watched.descriptor is None for watched in self._by_pid.values()):
            return self._next_look
        return None

    def check(self) -> None:
        """Check the processes that have no pidfd, if that is due."""
        deadline, now = self.deadline, time.monotonic()
        if deadline is None or now < deadline:
            return
        self._next_look = now + INTERVAL
        for pid, watched in list(self._by_pid.items()):
            if watched.process is not None and not _is_alive(watched.process):
                self._ended(pid)

    def _ended(self, pid: int) -> None:
        """Report the clients of a process that has ended."""
        for client in list(self._by_pid[pid].clients):
            self._gone(client)


def _watch(pid: int) -> _Watched | None:
    """Begin to watch a process; None if it cannot be watched.

    Raises
    ------
    ProcessLookupError
        There is no such process.
    """
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
    """Return whether a process runs. A zombie does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
