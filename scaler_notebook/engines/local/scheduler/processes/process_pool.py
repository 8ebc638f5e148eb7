"""The task processes of a scheduler: as many as there are slots, and spares that wait to take a place."""

import errno
import logging
import math
import selectors
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from scaler_notebook.engines.local.ipc.messages import Ended, Home, InnerMessage, Input, Previewed, Ready
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import ClientContext, Task, TaskDisplay, TaskLog

from .exit_cause import ExitCause
from .fork_server import Spawn, Starter
from .reaper import Reaper
from .task_process import TaskProcess

MAX_FAILED_STARTS = 5  # in a row, of the first processes: then something is wrong that another try does not mend
LACKS = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOSPC}  # they pass
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 2.0  # seconds between two tries to start a process

log = logging.getLogger(__name__)


class CannotStart(Exception):
    """No task process can be started, and another try would not change that: the engine ends."""


class PoolEvents(Protocol):
    """What task processes tell their scheduler."""

    def ready(self, pid: int) -> None:
        """A process can take tasks."""

    def previewed(self, pid: int, previewed: Previewed) -> None:
        """A process has made a preview of the result of a run."""

    def ended_run(self, pid: int, ended: Ended) -> None:
        """A process has ended a run."""

    def died(self, pid: int, cause: ExitCause, begun: bool) -> None:
        """A process, and all that it had started, is gone and reaped; had it begun its last run?"""


class ProcessPool:
    """Starts, feeds, watches, kills and replaces task processes.

    Parameters
    ----------
    size
        How many processes to keep, spares included.
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
        self._reaper = Reaper(self._processes, self._read, self._gone)
        self._failed_starts = 0  # in a row
        self._was_ready = False  # has any of them ever been?
        self._fill_at: float | None = None
        self._pause = 0.0  # seconds before the last try

    # ------------------------------------------------------------------ how many there are

    def fill(self) -> None:
        """Start what is missing; later, where the system is short of what that takes and has not always been.

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
                if error.errno in LACKS and self._was_ready:
                    self._fill_later(f"no task process can be started just now ({error})")
                    return
                if isinstance(self._starter, Spawn):
                    raise CannotStart(f"task processes cannot be started: {error}") from error
                log.warning("the fork server is gone (%s); new interpreters from here on", error)
                self._starter = Spawn()

    def _fill_later(self, why: str) -> None:
        if not self._pause:
            log.warning("%s; it is tried again", why)
        self._pause = min(LONGEST_PAUSE, 2 * self._pause or FIRST_PAUSE)
        self._fill_at = time.monotonic() + self._pause

    @property
    def fill_at(self) -> float | None:
        """When :meth:`fill` must be called again, in monotonic seconds."""
        return self._fill_at

    def resize(self, size: int) -> None:
        """Keep ``size`` processes; those that are too many stay until they are killed."""
        self._size = size
        self.fill()

    @property
    def surplus(self) -> int:
        """How many processes are too many."""
        return max(0, len(self._starting) + len(self._processes) - self._size)

    # ------------------------------------------------------------------ runs

    def run(self, pid: int, seq: int, task: Task, last: bool, inputs: tuple[Input, ...]) -> None:
        """Hand a process its next run: see :meth:`TaskProcess.run`."""
        self._processes[pid].run(seq, task, last, inputs)

    def send(self, pid: int, message: InnerMessage) -> None:
        """Queue a message for a process."""
        self._processes[pid].send(message)

    def suits(self, pid: int, context: ClientContext | None) -> bool:
        """Could a task of this context run in this process?"""
        return self._processes[pid].suits(context)

    def move(self, pid: int, context: ClientContext | None) -> None:
        """Have a process run what comes next in ``context``."""
        self._processes[pid].move(context)

    def warm(self, pid: int, modules: tuple[str, ...]) -> None:
        """Have a process import these modules and be ready again; without modules: have it stop importing."""
        self._processes[pid].warm(modules)

    @property
    def importing(self) -> bool:
        """Does a process import modules ahead of need?"""
        return any(process.importing for process in self._processes.values())

    def interrupt(self, pid: int, seq: int) -> None:
        """Ask a run to stop."""
        self._processes[pid].interrupt(seq)

    def kill(
        self, pid: int, others: Sequence[int] = (), why: str = "it was to be stopped", out_of_memory: bool = False
    ) -> None:
        """Kill a process and all that it started: see :meth:`TaskProcess.kill`."""
        found = [self._processes[other] for other in others if other in self._processes]
        self._processes[pid].kill(found, why, out_of_memory)

    def kill_all(self) -> None:
        """End everything, at the scheduler's end."""
        self._size = 0
        for pid in list(self._processes):
            self.kill(pid)
        for process in self._starting:
            process.sock.close()  # the process finds its socket closed and ends, or dies with us
        self._starter.close()

    # ------------------------------------------------------------------ output

    def new_output(self, pid: int, task_id: str, over: bool) -> Iterator[TaskLog | TaskDisplay]:
        """Yield what a process wrote and displayed since the last call; ``over``: its task has ended, or is dead."""
        return self._processes[pid].output.news(task_id, over)

    def new_progress(self, pid: int) -> tuple[float, float, str] | None:
        """Give ``(done, total, note)`` if the run of a process has reported since the last call."""
        return self._processes[pid].new_progress()

    def pace(self, pids: Iterable[int]) -> float:
        """Give the seconds until the output of these processes is to be looked at again."""
        return min((self._processes[pid].output.pace for pid in pids), default=math.inf)

    def drain(self) -> None:
        """Discard what processes print that import ahead of need: a full pipe must not keep them waiting."""
        for process in self._processes.values():
            if process.importing:
                process.output.discard()

    def start_output_over(self, pid: int) -> None:
        """Begin a new output between two tasks: what comes now belongs to the next."""
        self._processes[pid].output.start_over()

    # ------------------------------------------------------------------ what processes say

    def _serve(self, process: TaskProcess) -> None:
        if process.sock.fileno() < 0:
            return  # reaped by an event of the same round
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
        if not is_open:
            self._selector.unregister(process.sock)
            if process in self._starting:
                self._failed_to_start(process)
            elif process.pid in self._processes:
                self.kill(process.pid, why="its task had closed the connection to it")  # of no use any more

    def _read(self, process: TaskProcess) -> bool:
        """Read all there is; False at the end of the stream."""
        try:
            for message in process.received():
                self._receive(process, message)
        except (ProtocolError, MemoryError) as error:
            log.error("task process %d wrote nonsense to our socket: %s", process.pid, error)
        except (EOFError, OSError):
            pass
        except Exception:  # a bug of ours: the task fails with the process, and nobody waits for it
            log.exception("what task process %d said could not be handled", process.pid)
        else:
            return True
        return False

    def _receive(self, process: TaskProcess, message: InnerMessage) -> None:
        if isinstance(message, Ready):
            self._ready(process, message.pid)
        elif isinstance(message, Ended):
            if message.own:
                process.modules.add(message.own)
            self.events.ended_run(process.pid, message)
        elif isinstance(message, Previewed):
            self.events.previewed(process.pid, message)

    def _ready(self, process: TaskProcess, pid: int) -> None:
        if process in self._starting:
            if self._reaper.has_reaped(pid):
                raise ProtocolError("it is dead already")
            process.pid = pid
            self._starting.discard(process)
            self._processes[pid] = process
            self._failed_starts, self._pause, self._was_ready = 0, 0.0, True
            process.send(Home(self.home))
            if not self._starting:
                self._reaper.end_orphans((*self._processes, self._starter.pid))
        elif not process.importing or pid != process.pid:
            raise ProtocolError("it claims to be ready, and was not asked")  # a task has found our socket
        process.importing = False
        if not process.killed_for:  # else it was too late with that, and is dying
            self.events.ready(pid)

    # ------------------------------------------------------------------ their end

    def reap(self) -> None:
        """Wait, without blocking, for processes that have ended, and end what they have left running."""
        self._reaper.reap(bool(self._starting), self._starter.pid)

    @property
    def vanishing(self) -> float | None:
        """Seconds until :meth:`reap` must be called again, because something was killed and is not gone yet."""
        return self._reaper.vanishing

    def _failed_to_start(self, process: TaskProcess) -> None:
        self._starting.discard(process)
        self._failed_starts += 1
        text = process.output.last_words().strip()
        process.close()
        log.error("a task process ended before it was ready: %s", text or "it wrote nothing")
        if self._failed_starts >= MAX_FAILED_STARTS:
            if not self._was_ready:
                raise CannotStart(f"task processes end before they are ready: {text or 'they wrote nothing'}")
            self._fill_later("task processes end before they are ready")
        self.fill()

    def _gone(self, process: TaskProcess) -> None:
        assert process.cause is not None
        end = process.pid, process.cause, process.has_begun
        try:
            try:
                self.events.died(*end)
            except Exception:  # once more, for its task would never end; what was done is not done again
                log.exception("the end of process %d could not be told in full", process.pid)
                self.events.died(*end)
        finally:
            del self._processes[process.pid]
            process.close()
        self.fill()
