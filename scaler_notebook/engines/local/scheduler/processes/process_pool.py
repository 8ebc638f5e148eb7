"""The task processes of a scheduler: as many as there are slots, and spares that wait to take a place."""

import contextlib
import errno
import logging
import math
import os
import selectors
import signal
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from scaler_notebook.engines.local.ipc.framing import Assembler, Outbox
from scaler_notebook.engines.local.ipc.messages import (
    INNER_CODEC,
    PROCESS_CAPACITY,
    Ended,
    Home,
    InnerMessage,
    Input,
    Previewed,
    Ready,
    Run,
    Warm,
)
from scaler_notebook.engines.local.ipc.output_records import anonymous_file
from scaler_notebook.engines.local.scheduler.task_output import TaskOutput
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import ClientContext, Task, TaskDisplay, TaskLog
from scaler_notebook.protocol.payload_cache import Sender
from scaler_notebook.task.interruption.cancel_page import CancelPage
from scaler_notebook.task.isolation import orphans
from scaler_notebook.task.resource_usage import RSS_UNIT

from . import process_tree
from .exit_cause import UNKNOWN, Cause, Coroner
from .fork_server import Ends, Spawn, Starter
from .imported_modules import OwnModules

MAX_FAILED_STARTS = 5  # in a row, of the first processes: then something is wrong that another try does not mend
LACKS = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOSPC}  # they pass
LONGEST_PAUSE = 2.0  # seconds between two tries to start a process
# Seconds that a killed child of a task may take to vanish before its task is confirmed all the same. It runs no code
# any more; but on a starved machine it takes its time, and one that hangs in a dead file system never goes.
LINGER = 5.0

log = logging.getLogger(__name__)


class CannotStart(Exception):
    """No task process can be started, and another try would not change that: the engine ends."""


class PoolEvents(Protocol):
    """What the pool tells its scheduler."""

    def ready(self, pid: int) -> None:
        """A process can take tasks."""

    def previewed(self, pid: int, previewed: Previewed) -> None:
        """It has made a preview of the result of a run."""

    def ended_run(self, pid: int, ended: Ended) -> None:
        """A process ended a run."""

    def died(self, pid: int, cause: Cause, begun: bool) -> None:
        """A process, and all that it had started, is gone and reaped; had it begun its last run?"""


class TaskProcess:
    """The scheduler's side of one task process."""

    def __init__(self, starter: Starter) -> None:
        self.pid = 0  # until Ready
        with contextlib.ExitStack() as opened:
            self._start(starter, opened)
            opened.pop_all()

    def _start(self, starter: Starter, opened: contextlib.ExitStack) -> None:
        self.sock, theirs = socket.socketpair()
        opened.callback(self.sock.close)
        try:
            page = anonymous_file("ask")
        except BaseException:
            theirs.close()
            raise
        try:
            os.ftruncate(page, 4096)
            self.page = CancelPage(page)
            opened.callback(self.page.close)
            self.output = TaskOutput()
            opened.callback(self.output.close)
            self.sock.setblocking(False)
            self.outbox = Outbox(self.sock)
            self.unsent = False
            self.sender = Sender(PROCESS_CAPACITY)
            self.assembler = Assembler()
            self.context: ClientContext | None = None
            self.own_modules = OwnModules()  # that it has imported
            self.importing = False
            self.seq = 0  # of its last run
            self.cause: Cause | None = None  # it died, set once reaped
            self.killed_for = ""  # why we killed it ourselves
            self.out_of_memory = False  # it was for that
            self.lingering: list[int] = []  # descendants that were killed with it
            self.others: list[TaskProcess] = []  # that ran what its task had submitted, and were killed with it
            self.reaped_at = 0.0
            starter.start(Ends(theirs.fileno(), page, *self.output.fds))
            self.output.hand_over()
        finally:
            os.close(page)
            theirs.close()

    def close(self) -> None:
        """Free everything but the process itself."""
        self.sock.close()
        self.page.close()
        self.output.close()

    @property
    def gone(self) -> bool:
        """Is nothing left of it and of what it started?"""
        if process_tree.group_exists(self.pid) or any(process_tree.exists(pid) for pid in self.lingering):
            return False
        return all(other.cause is not None and other.gone for other in self.others)


class Pool:
    """Starts, feeds, watches, kills and replaces task processes.

    Parameters
    ----------
    size
        How many processes to keep, spares included.
    starter
        How they are started.
    selector
        The scheduler's; a key's data is called without arguments when its file is ready.
    events
        Who is told.
    """

    def __init__(self, size: int, starter: Starter, selector: selectors.BaseSelector, events: PoolEvents) -> None:
        self.home = ""  # where clients reach the engine
        self._size = size
        self._starter = starter
        self._selector = selector
        self._events = events
        self._left_orphans = False  # may a process that has died have left some?
        self._starting: set[TaskProcess] = set()
        self._processes: dict[int, TaskProcess] = {}
        self._vanishing: list[TaskProcess] = []  # reaped, but something that they started is not gone yet
        self._failed_starts = 0
        self._was_ready = False  # has any of them ever been?
        self._fill_at: float | None = None
        self._pause = 0.0  # seconds before the last try
        self._coroner = Coroner()
        self._reaped: set[int] = set()  # unknown numbers: orphans of tasks, or one whose Ready is not read yet

    def fill(self) -> None:
        """Start what is missing; later, where the system is short of what that takes and has not always been."""
        if self._fill_at is not None and time.monotonic() < self._fill_at:
            return
        self._fill_at = None
        while len(self._starting) + len(self._processes) < self._size:
            try:
                process = TaskProcess(self._starter)
            except OSError as error:
                if error.errno in LACKS and self._was_ready:
                    self._fill_later(f"no task process can be started just now ({error})")
                    return
                if isinstance(self._starter, Spawn):
                    raise CannotStart(f"task processes cannot be started: {error}") from error
                log.warning("the fork server is gone (%s); new interpreters from here on", error)
                self._starter = Spawn()
                continue
            self._starting.add(process)
            self._selector.register(process.sock, selectors.EVENT_READ, lambda p=process: self._serve(p))

    def _fill_later(self, why: str) -> None:
        if not self._pause:
            log.warning("%s; it is tried again", why)
        self._pause = min(LONGEST_PAUSE, 2 * self._pause or 0.02)
        self._fill_at = time.monotonic() + self._pause

    @property
    def fill_at(self) -> float | None:
        """When :meth:`fill` must be called again, in monotonic seconds."""
        return self._fill_at

    def resize(self, size: int) -> None:
        """Keep so many processes; those that are too many stay until they are killed."""
        self._size = size
        self.fill()

    @property
    def surplus(self) -> int:
        """How many are too many."""
        return max(0, len(self._starting) + len(self._processes) - self._size)

    def run(self, pid: int, seq: int, task: Task, last: bool, inputs: tuple[Input, ...]) -> None:
        """Hand a process its next run, the last try of its task or not."""
        process = self._processes[pid]
        process.seq, shorten = seq, process.sender.shorten
        function, arguments = shorten(task.function), shorten(task.arguments)
        given = tuple(Input(i.name, shorten(i.value)) for i in inputs)
        options = task.options
        self.send(pid, Run(seq, task.task_id, options.name, function, arguments, last, given, options.retry_on))

    def send(self, pid: int, message: InnerMessage) -> None:
        """Queue a message for a process."""
        process = self._processes[pid]
        process.outbox.put(INNER_CODEC.encode([message]))
        self._flush(process)

    def suits(self, pid: int, context: ClientContext | None) -> bool:
        """Could a task of this context run there? Not if it would meet modules of the user's that are not its own."""
        process = self._processes[pid]
        return not process.own_modules or process.own_modules.suit(process.context, context)

    def move(self, pid: int, context: ClientContext | None) -> None:
        """Have a process run what comes next in ``context``."""
        process = self._processes[pid]
        if context is not None and process.context is not context:
            process.context = context
            self.send(pid, context)

    def warm(self, pid: int, modules: tuple[str, ...]) -> None:
        """Have a process import these and be ready again; without modules: have it stop with that."""
        if modules:
            self._processes[pid].importing = True
        self.send(pid, Warm(modules))

    def new_output(self, pid: int, task_id: str, over: bool) -> Iterator[TaskLog | TaskDisplay]:
        """What a process wrote and displayed since the last call; ``over``: its task has ended, or is dead."""
        return self._processes[pid].output.news(task_id, over)

    def new_progress(self, pid: int) -> tuple[float, float, str] | None:
        """``(done, total, note)`` if its run has reported since the last call."""
        process = self._processes[pid]
        report = process.page.progress.read_new()
        return report[1:] if report is not None and report[0] == process.seq else None

    def pace(self, pids: Iterable[int]) -> float:
        """Seconds until the output of these processes is to be looked at again."""
        return min((self._processes[pid].output.pace for pid in pids), default=math.inf)

    def drain(self) -> None:
        """What processes print that import modules ahead of need is nobody's, and must not keep them waiting."""
        for process in self._processes.values():
            if process.importing:
                process.output.discard()

    @property
    def importing(self) -> bool:
        """Does a process import modules ahead of need?"""
        return any(process.importing for process in self._processes.values())

    def start_output_over(self, pid: int) -> None:
        """Between two tasks: what comes now belongs to the next."""
        self._processes[pid].output.start_over()

    def interrupt(self, pid: int, seq: int) -> None:
        """Ask a run to stop."""
        process = self._processes[pid]
        if process.cause is not None:
            return  # its number may be another's by now
        process.page.request_stop(seq)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)

    def kill(
        self, pid: int, others: Sequence[int] = (), why: str = "it was to be stopped", out_of_memory: bool = False
    ) -> None:
        """Kill a process and all that it started; when they and ``others`` are gone, it has died.

        Parameters
        ----------
        why, out_of_memory
            What is said of it, unless it was dying already.
        """
        process = self._processes[pid]
        process.others += [self._processes[other] for other in others if other in self._processes]
        if process.cause is not None:
            return  # its number may be another's by now
        if not process.killed_for and not process_tree.is_ending(pid):  # its socket closes before its death is seen
            process.killed_for, process.out_of_memory = why, out_of_memory
        descendants = process_tree.freeze(pid)
        process.lingering += descendants  # a second call may find them orphaned, and no longer its own
        process_tree.kill_group(pid)
        for descendant in descendants:
            process_tree.kill(descendant)

    def kill_all(self) -> None:
        """At the scheduler's end."""
        self._size = 0
        for pid in list(self._processes):
            self.kill(pid)
        for process in self._starting:
            process.sock.close()  # it finds its socket closed and ends, or dies with us
        self._starter.close()

    def reap(self) -> None:
        """Wait, without blocking, for whoever has ended: task processes, and orphans that they left to us."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    break
                process = self._processes.get(pid)
                if process is not None:
                    self._last_words(process, status, usage.ru_maxrss * RSS_UNIT)
                else:
                    self._reaped.add(pid)
        if not self._starting:
            self._reaped.clear()
        self._end_orphans()
        for process in list(self._vanishing):
            if process.gone or time.monotonic() - process.reaped_at > LINGER:
                self._vanishing.remove(process)
                self._gone(process)

    def _end_orphans(self) -> None:
        """End what tasks left running whose process has died (why: :mod:`scaler_notebook.task.isolation.orphans`)."""
        if not self._left_orphans or self._starting:  # one that is none of ours may be one that starts
            return
        self._left_orphans = False
        for pid in orphans.children():
            if pid not in self._processes and pid != self._starter.pid:
                for each in (*process_tree.freeze(pid), pid):
                    process_tree.kill(each)

    @property
    def vanishing(self) -> float | None:
        """Seconds until :meth:`reap` must be called again, because something was killed and is not gone yet."""
        if not self._vanishing:
            return None
        waited = time.monotonic() - min(process.reaped_at for process in self._vanishing)
        return min(max(0.001, waited / 10), 0.1)

    def _flush(self, process: TaskProcess) -> None:
        with contextlib.suppress(OSError):  # it is dying: SIGCHLD tells the rest
            unsent = not process.outbox.flush()
            if unsent != process.unsent:
                process.unsent = unsent
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if unsent else 0)
                self._selector.modify(process.sock, events, lambda: self._serve(process))

    def _serve(self, process: TaskProcess) -> None:
        if process.sock.fileno() < 0:
            return  # reaped by an event of the same round
        if process.unsent:
            self._flush(process)
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
            while process.assembler.read(process.sock):
                for frames in process.assembler.batches():
                    for message in INNER_CODEC.decode(frames):
                        self._receive(process, message)
                if process.assembler.drained:
                    return True
        except BlockingIOError:
            return True
        except (ProtocolError, MemoryError) as error:
            log.error("task process %d wrote nonsense to our socket: %s", process.pid, error)
        except OSError:
            pass
        except Exception:  # a bug of ours: the task fails with the process, and nobody waits for it
            log.exception("what task process %d said could not be handled", process.pid)
        return False

    def _receive(self, process: TaskProcess, message: InnerMessage) -> None:
        if isinstance(message, Ready):
            if process in self._starting:
                if message.pid in self._reaped:
                    raise ProtocolError("it is dead already")
                process.pid = message.pid
                self._starting.discard(process)
                self._processes[message.pid] = process
                self._failed_starts, self._pause, self._was_ready = 0, 0.0, True
                self.send(process.pid, Home(self.home))
                self._end_orphans()
            elif not process.importing or message.pid != process.pid:
                raise ProtocolError("it claims to be ready, and was not asked")  # a task has found our socket
            process.importing = False
            if not process.killed_for:  # else it was too late with that, and is dying
                self._events.ready(message.pid)
        elif isinstance(message, Ended):
            if message.own:
                process.own_modules.add(message.own)
            self._events.ended_run(process.pid, message)
        elif isinstance(message, Previewed):
            self._events.previewed(process.pid, message)

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

    def _last_words(self, process: TaskProcess, status: int, peak: int) -> None:
        """:meth:`_died`; what goes wrong with that keeps nobody waiting for the task."""
        try:
            self._died(process, status, peak)
        except Exception:
            log.exception("the end of process %d could not be handled in full", process.pid)
            if process.cause is None:
                process.cause, process.reaped_at = UNKNOWN, time.monotonic()
            if process.pid in self._processes and process not in self._vanishing:
                self._vanishing.append(process)

    def _died(self, process: TaskProcess, status: int, peak: int) -> None:
        cause = self._coroner.cause(status, peak, process.killed_for, process.out_of_memory)
        where = "in the initializer: " if process.page.preparing else ""
        process.cause = cause._replace(words=f"{where}{cause.words}")
        process.reaped_at = time.monotonic()
        self._read(process)  # a result that it had written counts
        process_tree.kill_group(process.pid)
        self._left_orphans = True
        if process.gone:
            self._gone(process)
        else:
            self._vanishing.append(process)

    def _gone(self, process: TaskProcess) -> None:
        assert process.cause is not None
        how = process.pid, process.cause, process.page.begun == process.seq
        try:
            try:
                self._events.died(*how)
            except Exception:  # once more, for its task would never end; what was done is not done again
                log.exception("the end of process %d could not be told in full", process.pid)
                self._events.died(*how)
        finally:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(process.sock)
            del self._processes[process.pid]
            process.close()
        self.fill()
