"""The task processes of a scheduler: one for each slot, and spares that take the place of one that ends."""

import errno
import logging
import math
import selectors
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from scaler_notebook.engines.local.ipc.messages import (
    EngineAddress,
    Item,
    Paused,
    Ready,
    ResultPreview,
    RunFinished,
    WorkerMessage,
)
from scaler_notebook.protocol.errors import ProtocolError

from .exit_cause import ExitCause
from .fork_server import Spawn, Starter
from .reaper import Reaper
from .task_process import TaskProcess

MAX_FAILED_STARTS = 5  # in a row, before any process was ready: then the engine gives up
TRANSIENT_ERRORS = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOSPC}
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 2.0  # seconds between two tries to start a process
READ_AGAIN = 0.05  # seconds between two tries to read a result whose descriptors have no room here

log = logging.getLogger(__name__)


class CannotStart(Exception):
    """No task process can be started, and another try would not help: the engine ends."""


class PoolEvents(Protocol):
    """Handles the messages and the ends of task processes."""

    def ready(self, pid: int) -> None:
        """Handle that a process can take tasks."""

    def previewed(self, pid: int, previewed: ResultPreview) -> None:
        """Handle the preview of a result that a process has made.

        Parameters
        ----------
        pid
            The number of the process.
        previewed
            The preview.
        """

    def ended_run(self, pid: int, ended: RunFinished) -> None:
        """Handle the end of a run.

        Parameters
        ----------
        pid
            The number of the process.
        ended
            How the run ended.
        """

    def gave(self, pid: int, item: Item) -> None:
        """Handle an item of a run.

        Parameters
        ----------
        pid
            The number of the process.
        item
            The item.
        """

    def paused(self, pid: int, paused: Paused) -> None:
        """Handle that a run waits until more of its items are taken.

        Parameters
        ----------
        pid
            The number of the process.
        paused
            How many were taken, as far as the process knows.
        """

    def died(self, pid: int, cause: ExitCause, begun: int) -> None:
        """Handle that a process is reaped, and that all which it had started is gone.

        Parameters
        ----------
        pid
            The number of the process.
        cause
            Why the process died.
        begun
            The number of the last run that the process had begun.
        """


class ProcessPool:
    """Starts, feeds, watches, kills and replaces task processes.

    Parameters
    ----------
    size
        How many processes there are to be, spares included.
    starter
        How they are started.
    selector
        The scheduler's; a key's data is called without arguments when its file is ready.
    """

    events: PoolEvents  # set before a process is served

    def __init__(self, size: int, starter: Starter, selector: selectors.BaseSelector) -> None:
        self.home = ""  # where clients reach the engine
        self._size = size
        self._starter = starter
        self._selector = selector
        self._starting: set[TaskProcess] = set()
        self._processes: dict[int, TaskProcess] = {}
        self._reaper = Reaper(self._processes, self._is_ours, self._read, self._gone)
        self._failed_starts = 0  # in a row
        self._was_ready = False  # has any process ever been ready?
        self._fill_at: float | None = None
        self._pause = 0.0  # seconds before the last try
        self._held_back: list[TaskProcess] = []  # those with a result that the scheduler has no room for
        self.read_again_at: float | None = None  # in monotonic seconds; None if nothing is held back

    # ------------------------------------------------------------------ how many there are

    def fill(self) -> None:
        """Start the processes that are missing, or try again later if the system lacks resources for a while.

        Raises
        ------
        CannotStart
            The engine has to end.
        """
        if self._fill_at is not None and time.monotonic() < self._fill_at:
            return
        self._fill_at = None
        while len(self._starting) + len(self._processes) < self._size:
            try:
                self._starting.add(TaskProcess(self._starter, self._selector, self._serve))
            except OSError as error:
                if error.errno in TRANSIENT_ERRORS and self._was_ready:
                    self._fill_later(f"no task process can be started just now ({error})")
                    return
                if isinstance(self._starter, Spawn):
                    raise CannotStart(f"task processes cannot be started: {error}") from error
                log.warning("the fork server is gone (%s); new interpreters from here on", error)
                self._starter = Spawn()

    def _fill_later(self, why: str) -> None:
        """Set when to start processes again; each pause is twice the one before."""
        if not self._pause:
            log.warning("%s; it is tried again", why)
        self._pause = min(LONGEST_PAUSE, 2 * self._pause or FIRST_PAUSE)
        self._fill_at = time.monotonic() + self._pause

    @property
    def fill_at(self) -> float | None:
        """When :meth:`fill` must be called again, in monotonic seconds; None if it need not be."""
        return self._fill_at

    def resize(self, size: int) -> None:
        """Set how many processes there are to be; surplus processes stay until they are killed."""
        self._size = size
        self.fill()

    @property
    def surplus(self) -> int:
        """How many processes are too many; one that is being killed is not counted."""
        staying = sum(not process.killed_for and process.cause is None for process in self._processes.values())
        return max(0, len(self._starting) + staying - self._size)

    # ------------------------------------------------------------------ the processes that are ready

    def __getitem__(self, pid: int) -> TaskProcess:
        """Return a process by its number."""
        return self._processes[pid]

    @property
    def importing(self) -> bool:
        """Whether a process imports modules ahead of need."""
        return any(process.importing for process in self._processes.values())

    def kill(
        self, pid: int, others: Sequence[int] = (), why: str = "it was to be stopped", out_of_memory: bool = False
    ) -> None:
        """Kill a process and all that it started: see :meth:`TaskProcess.kill`.

        Parameters
        ----------
        pid
            The number of the process.
        others
            Processes that the caller kills, too; numbers without a process are ignored.
        why
            The reason.
        out_of_memory
            Is the reason that the process has exceeded its limit of memory?
        """
        found = [self._processes[other] for other in others if other in self._processes]
        self._processes[pid].kill(found, why, out_of_memory)

    def kill_all(self) -> None:
        """Kill every process, at the end of the scheduler."""
        self._size = 0
        for pid in list(self._processes):
            self.kill(pid)
        for process in self._starting:
            process.sock.close()  # the process ends when it finds its socket closed, or is killed with the scheduler
        self._starter.close()

    # ------------------------------------------------------------------ output

    def pace(self, pids: Iterable[int]) -> float:
        """Return the seconds until the output of these processes is to be read again."""
        return min((self._processes[pid].output.pace for pid in pids), default=math.inf)

    def drain(self) -> None:
        """Discard what importing processes print, so that none has to wait because its pipe is full."""
        for process in self._processes.values():
            if process.importing:
                process.output.discard()

    # ------------------------------------------------------------------ messages of processes

    def catch_up(self, pid: int) -> None:
        """Handle what a process has said so far; a number without a process is ignored."""
        if pid in self._processes:
            self._serve(self._processes[pid])

    def _serve(self, process: TaskProcess) -> None:
        """Write and read as much as there is; kill a process that has closed its socket."""
        if process.sock.fileno() < 0:
            return  # reaped in the same iteration of the loop
        if process.unsent:
            process.flush()
        try:
            is_open = self._read(process)
        except CannotStart:
            raise
        except Exception:
            log.exception("a message of task process %d could not be handled", process.pid)
            if process.pid in self._processes:
                self.kill(process.pid, why="a message from it could not be handled: a bug of ours")
            return
        if process.held_back:
            self._hold_back(process)
        if not is_open:
            process.ignore()
            if process in self._starting:
                self._failed_to_start(process)
            elif process.pid in self._processes:
                self.kill(process.pid, why="its task had closed the connection to it")

    def _hold_back(self, process: TaskProcess) -> None:
        """Leave a result where it is, until there is room for its descriptors."""
        if not self._held_back:
            log.warning("no descriptors are left for the result of task process %d; it is held back", process.pid)
        self._held_back.append(process)
        self.read_again_at = time.monotonic() + READ_AGAIN

    def read_again(self) -> None:
        """Serve the processes whose results were held back, when it is time."""
        if self.read_again_at is None or time.monotonic() < self.read_again_at:
            return
        held_back, self._held_back, self.read_again_at = self._held_back, [], None
        for process in held_back:
            if process.sock.fileno() >= 0:
                process.hold_back(False)
                self._serve(process)

    def _read(self, process: TaskProcess) -> bool:
        """Handle all messages that there are; False if there can be no more."""
        try:
            for message in process.received():
                self._receive(process, message)
        except (ProtocolError, MemoryError) as error:
            log.error("task process %d wrote nonsense to our socket: %s", process.pid, error)
        except (EOFError, OSError):
            pass
        except Exception:  # a bug of ours: the process is killed, so that the task ends
            log.exception("what task process %d said could not be handled", process.pid)
        else:
            return True
        return False

    def _receive(self, process: TaskProcess, message: WorkerMessage) -> None:
        """Handle one message of a process."""
        if isinstance(message, Ready):
            self._ready(process, message.pid)
        elif isinstance(message, RunFinished):
            if message.own:
                process.modules.add(message.own)
            self.events.ended_run(process.pid, message)
        elif isinstance(message, ResultPreview):
            self.events.previewed(process.pid, message)
        elif isinstance(message, Item):
            self.events.gave(process.pid, message)
        elif isinstance(message, Paused):
            self.events.paused(process.pid, message)

    def _ready(self, process: TaskProcess, pid: int) -> None:
        """Handle that a process is ready, at its start or after a prewarm."""
        if process in self._starting:
            if self._reaper.has_reaped(pid):
                raise ProtocolError("it is dead already")
            process.pid = pid
            self._starting.discard(process)
            self._processes[pid] = process
            self._failed_starts, self._pause, self._was_ready = 0, 0.0, True
            process.send(EngineAddress(self.home))
        elif not process.importing or pid != process.pid:
            raise ProtocolError("it claims to be ready, and was not asked")  # sent by a task that has found the socket
        process.importing = False
        if not process.killed_for:  # a process that is being killed takes no task
            self.events.ready(pid)

    # ------------------------------------------------------------------ ends of processes

    def reap(self) -> None:
        """Reap, without blocking, processes that have ended, and kill what they have left running."""
        self._reaper.reap(bool(self._starting))

    def _is_ours(self, pid: int) -> bool:
        """Return whether a child of this process is a task process, or belongs to the starter, and so is no orphan."""
        if pid in self._processes or self._starter.has_started(pid):
            return True
        return any(process.page.pid == pid for process in self._starting)

    @property
    def vanishing(self) -> float | None:
        """Seconds until :meth:`reap` must be called again, because what was killed is not gone yet; None: never."""
        return self._reaper.vanishing

    def _failed_to_start(self, process: TaskProcess) -> None:
        """Handle the end of a process that was never ready, and start another."""
        self._starting.discard(process)
        self._failed_starts += 1
        text = process.output.take_stderr().strip()
        process.close()
        log.error("a task process ended before it was ready: %s", text or "it wrote nothing")
        if self._failed_starts >= MAX_FAILED_STARTS:
            if not self._was_ready:
                raise CannotStart(f"task processes end before they are ready: {text or 'they wrote nothing'}")
            self._fill_later("task processes end before they are ready")
        self.fill()

    def _gone(self, process: TaskProcess) -> None:
        """Report the end of a process, and start another."""
        assert process.cause is not None
        end = process.pid, process.cause, process.begun
        try:
            try:
                self.events.died(*end)
            except Exception:  # once more, or the task would never end; what was done is not done again
                log.exception("the end of process %d could not be told in full", process.pid)
                self.events.died(*end)
        finally:
            del self._processes[process.pid]
            process.close()
        self.fill()
