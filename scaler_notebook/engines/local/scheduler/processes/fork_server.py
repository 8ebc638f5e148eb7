"""How task processes are started: forked from a small preloaded server on Linux, else as new interpreters.

The fork server forks twice, and the scheduler is a subreaper. So each task process is a child of the scheduler, which
waits for it; it outlives the fork server, and is killed by the system when the scheduler dies.
"""

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import time
from typing import NamedTuple, Protocol

from scaler_notebook.engines.local.ipc import fd_limits
from scaler_notebook.task.interruption.cancel_page import CancelPage
from scaler_notebook.task.isolation.orphans import become_subreaper, prctl

PR_SET_PDEATHSIG = 1
ADOPTION_TIMEOUT = 5.0  # seconds that a forked process waits to become the scheduler's child


class ProcessDescriptors(NamedTuple):
    """The file descriptors that a task process inherits."""

    sock: int  # to the scheduler
    page: int  # of the :class:`~scaler_notebook.task.interruption.cancel_page.CancelPage`
    stdout: int
    stderr: int
    records: int  # of displays
    claims: int  # the reading end of the pipe of :mod:`scaler_notebook.engines.local.ipc.claims`


class Starter(Protocol):
    """One way to start task processes."""

    def has_started(self, pid: int) -> bool:
        """Return whether a child of the scheduler belongs to this starter: its process, or a fork without a number yet.

        Parameters
        ----------
        pid
            The number of the child. Once this returns False for a task process, its page holds its number.
        """

    def start(self, ends: ProcessDescriptors) -> None:
        """Start a task process, which has its number on its page, and sends ``Ready`` on its socket.

        Parameters
        ----------
        ends
            What the process inherits. The caller closes its own copies afterwards.

        Raises
        ------
        OSError
            No process can be started.
        """

    def close(self) -> None:
        """End the starter; the processes that were started go on."""


def choose_starter(hello: int) -> Starter:
    """Return a fork server on Linux, elsewhere what starts new interpreters.

    To be called before any thread exists in this process.

    Parameters
    ----------
    hello
        The descriptor of the hello pipe, which no other process may keep open: the kernel takes the end of that pipe
        for the end of the scheduler.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            become_subreaper()
            if os.environ.get("SCALER_NOTEBOOK_START_METHOD", "forkserver") == "forkserver":
                return ForkServer(hello)
    return Spawn()


class ForkServer:
    """A child of the scheduler that has imported what a task process needs, has no thread, and forks on demand.

    Parameters
    ----------
    hello
        As for :func:`choose_starter`.
    """

    def __init__(self, hello: int) -> None:
        ours, theirs = socket.socketpair()
        scheduler = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                ours.close()
                os.close(hello)
                _serve_forks(theirs, scheduler)
            finally:
                os._exit(0)
        theirs.close()
        self._sock = ours

    def has_started(self, pid: int) -> bool:
        """Return whether a child of the scheduler is the fork server, or a fork that has not left its session yet."""
        with contextlib.suppress(ProcessLookupError):
            return os.getsid(pid) == self.pid
        return False

    def start(self, ends: ProcessDescriptors) -> None:
        """Have the fork server fork a task process, which sends ``Ready`` on its socket."""
        socket.send_fds(self._sock, [b"+"], list(ends))

    def close(self) -> None:
        """End the fork server; the processes that were started go on."""
        self._sock.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def _serve_forks(sock: socket.socket, scheduler: int) -> None:
    """Fork task processes on demand, until the socket is closed, which is the end of the scheduler.

    Parameters
    ----------
    sock
        The socket on which the scheduler sends descriptors.
    scheduler
        The process id of the scheduler.
    """
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != scheduler:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)  # the lifeline of the kernel
    os.dup2(null, 1)  # the scheduler's log
    from scaler_notebook.engines.local.ipc.messages import WORKER_CODEC
    from scaler_notebook.engines.local.worker import main as task_process

    WORKER_CODEC.prepare()
    gc.freeze()  # a collection in a forked process does not touch, and so copy, the memory of what is here
    while True:
        command, fds, _, _ = socket.recv_fds(sock, 1, len(ProcessDescriptors._fields))
        if not command:
            return
        ends = ProcessDescriptors(*fds)
        intermediate = _fork_with_retry(scheduler)
        if intermediate == 0:
            try:
                parent = os.getpid()
                if _fork_with_retry(scheduler) == 0:
                    sock.close()
                    _become_task_process(ends, scheduler, parent, task_process.main)
            finally:
                os._exit(0)
        for fd in ends:
            os.close(fd)
        os.waitpid(intermediate, 0)


def _fork_with_retry(scheduler: int) -> int:
    """Fork; while the system has no room for a process, try again, and exit when the scheduler is gone."""
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


def _become_task_process(ends: ProcessDescriptors, scheduler: int, intermediate: int, main: "object") -> None:
    """Wait until the scheduler has adopted this process, then run tasks; returns if the scheduler has died.

    Parameters
    ----------
    ends
        What the process inherits.
    scheduler
        The process id of the scheduler.
    intermediate
        The process id of the parent, which ends at once.
    main
        The entry point of a task process.
    """
    deadline = time.monotonic() + ADOPTION_TIMEOUT
    while (parent := os.getppid()) != scheduler:
        if parent != intermediate or time.monotonic() > deadline:  # adopted by another process: the scheduler has died
            return
        time.sleep(0.0002)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != scheduler:  # the scheduler died before the line above took effect
        return
    _write_number(ends.page, os.getpid())
    os.setsid()
    _run_task_process(ends, main, fd_limits.USER_LIMIT, fd_limits.USER_UMASK)


def _write_number(page_fd: int, pid: int) -> None:
    """Write the number of a task process to its page, so that the scheduler does not take the process for an orphan.

    Parameters
    ----------
    page_fd
        The descriptor of the page.
    pid
        The number.
    """
    page = CancelPage(page_fd)
    page.pid = pid
    page.close()


def _run_task_process(ends: ProcessDescriptors, main: "object", open_files: int, umask: int) -> None:
    """Give the process its streams and the user's limits, and run tasks.

    Parameters
    ----------
    ends
        What the process inherits.
    main
        The entry point of a task process.
    open_files, umask
        The user's limits, see :mod:`scaler_notebook.engines.local.ipc.fd_limits`.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()  # what a sitecustomize has printed must not become a task's output
    os.dup2(ends.stdout, 1)
    os.dup2(ends.stderr, 2)
    os.close(ends.stdout)
    os.close(ends.stderr)
    with contextlib.suppress(OSError):
        become_subreaper()
    fd_limits.set_open_files(open_files)
    os.umask(umask)
    fd_limits.raise_oom_score()
    assert callable(main)
    main(socket.socket(fileno=ends.sock), ends.page, ends.records, ends.claims)


class Spawn:
    """Starts a new interpreter for each task process: slower than a fork, but possible on every system."""

    def has_started(self, pid: int) -> bool:
        """Return False: the number of each process is on its page at once."""
        return False

    def start(self, ends: ProcessDescriptors) -> None:
        """Start a task process in a new interpreter, which sends ``Ready`` on its socket."""
        call = f"run_spawned({tuple(ends)!r}, {fd_limits.USER_LIMIT}, {fd_limits.USER_UMASK})"
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import run_spawned; {call}"
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=ends,
            start_new_session=True,
        )
        _write_number(ends.page, process.pid)
        # With a return code set, ``subprocess`` does not wait for the process at a later start, which it else does for
        # an object that was dropped; the scheduler would never notice the end.
        process.returncode = 0

    def close(self) -> None:
        """Do nothing: there is no process beside the task processes."""


def run_spawned(fds: tuple[int, int, int, int, int, int], open_files: int, umask: int) -> None:
    """Run the task process of a new interpreter.

    Parameters
    ----------
    fds
        The :class:`ProcessDescriptors`.
    open_files, umask
        The user's limits, see :mod:`scaler_notebook.engines.local.ipc.fd_limits`.
    """
    from scaler_notebook.engines.local.worker import main as task_process

    if sys.platform == "linux":
        scheduler = os.getppid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != scheduler:
            return
    _run_task_process(ProcessDescriptors(*fds), task_process.main, open_files, umask)
