"""Starting task processes: forked from a small preloaded server where the platform allows it, else a new interpreter.

The fork server forks twice, and the scheduler is a subreaper (Linux): each task process is the scheduler's own child,
waited for by it, alive when the fork server dies, and killed by the system when the scheduler dies.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from typing import NamedTuple, Protocol

from scaler_notebook.engines.local.ipc import fd_limits
from scaler_notebook.task.isolation.orphans import become_subreaper, prctl

PR_SET_PDEATHSIG = 1
ADOPTION_TIMEOUT = 5.0  # seconds that a forked process waits to become the scheduler's child


class Ends(NamedTuple):
    """The file descriptors of a task process: its socket, its ask page, its files of output."""

    sock: int
    page: int
    stdout: int
    stderr: int
    records: int


class Starter(Protocol):
    """One way to start task processes. The caller closes its copies of the descriptors afterwards."""

    pid: int  # of the process that it starts them from; 0 for none but this one

    def start(self, ends: Ends) -> None:
        """Start one; it announces itself by ``Ready`` on its socket. OSError if it cannot be started."""

    def close(self) -> None:
        """End the starter; the processes that it started stay."""


def best_starter(end_of_life: int) -> Starter:
    """A fork server on Linux, new interpreters elsewhere. Call it before any thread exists in this process.

    Parameters
    ----------
    end_of_life
        The descriptor whose end tells the kernel of the scheduler's; no other process may keep it open.
    """
    if sys.platform == "linux" and os.environ.get("SCALER_NOTEBOOK_START_METHOD", "forkserver") == "forkserver":
        with contextlib.suppress(OSError):
            become_subreaper()
            return ForkServer(end_of_life)
    return Spawn()


class ForkServer:
    """A child of the scheduler that has our imports done, no thread, and forks on demand."""

    def __init__(self, end_of_life: int) -> None:
        ours, theirs = socket.socketpair()
        scheduler = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                ours.close()
                os.close(end_of_life)
                _serve_forks(theirs, scheduler)
            finally:
                os._exit(0)
        theirs.close()
        self._sock = ours

    def start(self, ends: Ends) -> None:
        socket.send_fds(self._sock, [b"+"], list(ends))

    def close(self) -> None:
        self._sock.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def _serve_forks(sock: socket.socket, scheduler: int) -> None:
    """The fork server's life: it ends with its socket, that is, with the scheduler."""
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != scheduler:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)  # the lifeline of the kernel
    os.dup2(null, 1)  # the scheduler's log
    from scaler_notebook.engines.local.worker import main as task_process

    while True:
        command, fds, _, _ = socket.recv_fds(sock, 1, len(Ends._fields))
        if not command:
            return
        ends = Ends(*fds)
        middle = _forked(scheduler)
        if middle == 0:
            try:
                between = os.getpid()
                if _forked(scheduler) == 0:
                    sock.close()
                    _become_task_process(ends, scheduler, between, task_process.main)
            finally:
                os._exit(0)
        for fd in ends:
            os.close(fd)
        os.waitpid(middle, 0)


def _forked(scheduler: int) -> int:
    """:func:`os.fork`, tried until the system has room for a process again, or the scheduler is gone."""
    pause = 0.01
    while True:
        try:
            return os.fork()
        except OSError:  # a limit on processes, or no memory
            with contextlib.suppress(OSError):
                os.kill(scheduler, 0)
                time.sleep(pause)
                pause = min(1.0, 2 * pause)
                continue
            os._exit(0)


def _become_task_process(ends: Ends, scheduler: int, between: int, main: "object") -> None:
    deadline = time.monotonic() + ADOPTION_TIMEOUT
    while (parent := os.getppid()) != scheduler:  # until the process between us has gone
        if parent != between or time.monotonic() > deadline:  # another than the scheduler: that has died
            return
        time.sleep(0.0002)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != scheduler:  # it died before the line above took effect
        return
    os.setsid()
    _run_on(ends, main, fd_limits.USERS, fd_limits.UMASK)


def _run_on(ends: Ends, main: "object", open_files: int, umask: int) -> None:
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()  # what a sitecustomize has printed is no output of a task
    os.dup2(ends.stdout, 1)
    os.dup2(ends.stderr, 2)
    os.close(ends.stdout)
    os.close(ends.stderr)
    with contextlib.suppress(OSError):
        become_subreaper()
    fd_limits.set_open_files(open_files)
    os.umask(umask)
    fd_limits.be_first_out_of_memory()
    assert callable(main)
    main(socket.socket(fileno=ends.sock), ends.page, ends.records)


class Spawn:
    """A new interpreter per task process: slower, and everywhere."""

    pid = 0

    def start(self, ends: Ends) -> None:
        call = f"spawned({tuple(ends)!r}, {fd_limits.USERS}, {fd_limits.UMASK})"
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import spawned; {call}"
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=ends,
            start_new_session=True,
        )
        # The scheduler waits for it. Of an object that is dropped while its process runs, subprocess's next start may
        # do so, and the scheduler would never hear of that death.
        process.returncode = 0

    def close(self) -> None:
        pass


def spawned(fds: tuple[int, int, int, int, int], open_files: int, umask: int) -> None:
    """Entry point of a spawned task process; ``open_files`` is how many its user may have open, under ``umask``."""
    from scaler_notebook.engines.local.worker import main as task_process

    if sys.platform == "linux":
        scheduler = os.getppid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != scheduler:
            return
    _run_on(Ends(*fds), task_process.main, open_files, umask)
