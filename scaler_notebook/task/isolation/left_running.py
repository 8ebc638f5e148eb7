"""Threads and processes that a task has left running in its process.

Such leftovers can print into the next task's output, and change what it sees; nothing can undo that. Not counted are
what an import or an initializer has started, a library's threads that wait for work, and processes that a library
retains for later. A thread is the user's own if the user's code has started it, or is what it runs.
"""

import functools
import os
import resource
import sys
import threading
import time
import weakref
from _thread import _count as count_threads
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import psutil

from scaler_notebook.task.modules.installation import is_installed

from . import orphans

PATIENCE = 0.02  # seconds to wait for threads and processes that are about to end, before the process is replaced
BUSY_PATIENCE = 1.0  # ... for a process that waits for a core, and so could not do yet what it is about to do
LOOK_EVERY = 0.002  # seconds between two looks
LONGEST_COMMAND = 60  # characters of a command line that are shown
RETAINED_BY_LIBRARIES = (b"resource_tracker", b"multiprocessing.forkserver", b"loky")  # parts of command lines


class Leftovers(NamedTuple):
    """The descriptions of leftovers.

    Parameters
    ----------
    blocking
        Threads, and processes that share the output: no other task may run beside them.
    detached
        Child processes that share nothing with the next task.
    """

    blocking: list[str]
    detached: list[str]


_NOTHING = Leftovers([], [])


class LeftoverDetector:
    """A detector of threads and processes that tasks leave running in this process."""

    def __init__(self) -> None:
        self._started: weakref.WeakSet[threading.Thread] = weakref.WeakSet()  # threads started by the user's code
        self._note_starts()
        self._outputs = {found for fd in (1, 2) if (found := _identity(f"/proc/self/fd/{fd}")) is not None}
        self._children = -1
        with suppress(OSError):
            self._children = os.open(f"/proc/self/task/{threading.get_native_id()}/children", os.O_RDONLY)
        self._threads = set(sys._current_frames())  # threads that may stay
        self._processes: set[int] = set()  # processes that may stay
        self._seen_children = self._child_fingerprint()  # as of the last full look
        self._before: tuple[set[int], object] = set(), None

    def accept(self, begins: bool) -> None:
        """Begin (True) or end (False) a stretch whose new threads and processes :meth:`find` does not report."""
        if begins:
            self._before = set(sys._current_frames()), self._child_fingerprint()
            return
        threads, fingerprint = self._before
        self._threads |= sys._current_frames().keys() - threads
        if self._child_fingerprint() != fingerprint:
            self._processes |= {*self._holders(), *orphans.children()}

    def find(self) -> Leftovers:
        """Find what the task has left running.

        Blocking processes are killed here. Blocking threads end with this process, which the caller has to end.
        """
        if not count_threads() and self._child_fingerprint() == self._seen_children:
            return _NOTHING
        begun = time.monotonic()
        while True:
            asked_at = time.monotonic()  # before the look: on a busy machine, a look may take longer than the patience
            threads, processes = [*self._running_threads()], self._new_holders()
            patience = BUSY_PATIENCE if any(map(_waits_for_core, processes)) else PATIENCE
            if not (threads or processes) or asked_at > begun + patience:
                break
            time.sleep(LOOK_EVERY)
        self._processes = {pid for pid in self._processes if os.path.exists(f"/proc/{pid}")}
        orphans.reap_orphans()
        self._seen_children = self._child_fingerprint()
        names = [_in_words(pid) for pid in processes]
        for pid in processes:  # where orphans are not adopted, a process would outlive this one
            with suppress(OSError):
                os.kill(pid, 9)
        detached = [pid for pid in orphans.children() if pid not in self._processes and pid not in processes]
        late = [pid for pid in detached if self._holds_output(pid)]  # begun by one of them while these were listed
        for pid in late:
            with suppress(OSError):
                os.kill(pid, 9)
        detached = [pid for pid in detached if pid not in late]
        self._processes.update(detached)  # each is reported once
        words = [_in_words(pid) for pid in detached if not (orphans.has_ended(pid) or _is_library_process(pid))]
        return Leftovers([*threads, *names], words)

    # ------------------------------------------------------------------ threads

    def _running_threads(self) -> Iterator[str]:
        known = {thread.ident: thread for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            thread = known.get(ident)
            if ident not in self._threads and (thread in self._started or _runs_users_code(frame)):
                yield f"thread {thread.name!r}" if thread is not None else f"thread {ident}"

    def _note_starts(self) -> None:
        """Wrap ``Thread.start`` to note which threads the user's code starts."""
        start, started = threading.Thread.start, self._started

        @functools.wraps(start)
        def noted_start(self: threading.Thread) -> None:
            if _is_the_users(sys._getframe(1)):
                started.add(self)
            start(self)

        threading.Thread.start = noted_start  # type: ignore[method-assign]

    # ------------------------------------------------------------------ processes

    def _child_fingerprint(self) -> object:
        """Return a value that changes when the main thread gets children, or when a child has been waited for."""
        try:
            children = os.pread(self._children, 256, 0)
        except OSError:  # not on this system, or closed by the task
            children = b""
        return children, resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt

    def _new_holders(self) -> list[int]:
        if self._child_fingerprint() == self._seen_children:
            return []
        # A parent that ends while processes are listed may have a child that the list lacks: an orphan, and ours now.
        holders = dict.fromkeys([*self._holders(), *filter(self._holds_output, orphans.children())])
        found = [pid for pid in holders if pid not in self._processes]
        return [pid for pid in found if not _is_library_process(pid)]

    def _holders(self) -> Iterator[int]:
        """Yield the other processes that share this process's stdout or stderr; the children where that is unknown."""
        own = os.getpid()
        if not self._outputs:
            with suppress(psutil.Error):
                yield from (child.pid for child in psutil.Process().children(recursive=True))
            return
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == own:
                continue
            if self._holds_output(int(name)):
                yield int(name)

    def _holds_output(self, pid: int) -> bool:
        return any(_identity(f"/proc/{pid}/fd/{fd}") in self._outputs for fd in (1, 2))


def _runs_users_code(frame: FrameType) -> bool:
    """Return whether a thread runs the user's code, or work that the user has given to a pool."""
    at: FrameType | None = frame
    while at is not None:
        of_a_pool = at.f_code.co_filename.endswith(os.path.join("futures", "thread.py"))
        if _is_the_users(at) or (of_a_pool and at.f_code.co_name == "run"):
            return True
        at = at.f_back
    return False


def _is_the_users(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return not name.startswith("<frozen") and not is_installed(name)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _waits_for_core(pid: int) -> bool:
    """Return whether a process could run, or loads its program, and has had next to no time on a core yet."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return fields[0] in "RD" and fields[11:13] == ["0", "0"]  # the state; the ticks of its code and of the system
    return False


def _command_line(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _is_library_process(pid: int) -> bool:
    return any(word in _command_line(pid) for word in RETAINED_BY_LIBRARIES)


def _in_words(pid: int) -> str:
    return f"process {pid} ({_command(pid)})"


def _command(pid: int) -> str:
    line = _command_line(pid)
    if not line:  # another program takes its place just now
        with suppress(OSError):
            line = Path(f"/proc/{pid}/comm").read_bytes()
    if line == _command_line(os.getpid()):
        return "a fork"
    words = " ".join(line.decode(errors="replace").replace("\0", " ").split())
    return words if len(words) <= LONGEST_COMMAND else words[: LONGEST_COMMAND - 1] + "…"
