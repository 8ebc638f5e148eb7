"""The scheduler's side of one task process."""

import contextlib
import errno
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from scaler_notebook.engines.local.ipc import fd_limits
from scaler_notebook.engines.local.ipc.claims import OfferedRuns
from scaler_notebook.engines.local.ipc.framing import MAX_DESCRIPTORS, Assembler
from scaler_notebook.engines.local.ipc.memory import travelling
from scaler_notebook.engines.local.ipc.memory.shared_memory import close_descriptors
from scaler_notebook.engines.local.ipc.messages import (
    PROCESS_CAPACITY,
    WORKER_CODEC,
    EndHandled,
    Input,
    Prewarm,
    Run,
    RunFinished,
    WorkerMessage,
)
from scaler_notebook.engines.local.ipc.outbox import Outbox
from scaler_notebook.engines.local.ipc.output_records import anonymous_file
from scaler_notebook.engines.local.scheduler.core.effects import PrefetchedRun
from scaler_notebook.engines.local.scheduler.task_output import TaskOutput
from scaler_notebook.protocol.messages import ClientContext, Task
from scaler_notebook.protocol.payload_cache import Sender
from scaler_notebook.protocol.twins import maker
from scaler_notebook.task.interruption.cancel_page import CancelPage

from . import process_tree
from .exit_cause import ExitCause
from .fork_server import ProcessDescriptors, Starter
from .imported_modules import ImportedModules

PAGE_BYTES = 4096
SPARE_DESCRIPTORS = 8  # for the scheduler itself: sockets of clients, files that it reads
OWN_DESCRIPTORS = 8  # that the scheduler has of one process, at most
LONGEST_HOLD = 60.0  # seconds; then a result is read whatever it loses, so that its task ends

_free_descriptors = fd_limits.FreeDescriptors()
_new_run = maker(Run)


class TaskProcess:
    """One task process: its socket, its page of shared memory, its output, and how it ends.

    Parameters
    ----------
    starter
        How the process is started.
    selector
        The scheduler's; a key's data is called without arguments when its file is ready.
    serve
        Called with this object when there is something to read from the process, or room to write to it.

    Raises
    ------
    OSError
        The process cannot be started; nothing is left open.
    """

    def __init__(
        self, starter: Starter, selector: selectors.BaseSelector, serve: "Callable[[TaskProcess], None]"
    ) -> None:
        self.pid = 0  # until its Ready
        self.context: ClientContext | None = None
        self.modules = ImportedModules()
        self.importing = False  # does the process import modules ahead of need?
        self.cause: ExitCause | None = None  # set when the process is reaped
        self.killed_for = ""  # why the scheduler has killed the process; empty if it has not, or it was dying already
        self._was_killed = False
        self.out_of_memory = False  # was the process killed because it exceeded its limit of memory?
        self.reaped_at = 0.0  # monotonic seconds
        self._lingering: list[int] = []  # descendants that were killed with the process
        self._others: list[TaskProcess] = []  # killed with the process, whose task had submitted their tasks
        self._selector = selector
        self._serve = lambda: serve(self)
        self.unsent = False  # is there more to write than the socket takes?
        self.held_back = False  # is nothing read, because this scheduler has no room for what the process has sent?
        self._held_since: float | None = None  # monotonic seconds
        self._is_ignored = False
        self._sender = Sender(PROCESS_CAPACITY)
        self._assembler = Assembler()
        with contextlib.ExitStack() as opened:
            self._start(starter, opened)
            self._registered = 0
            self._watch()
            opened.pop_all()

    def _start(self, starter: Starter, opened: contextlib.ExitStack) -> None:
        """Create what the process inherits, and start the process.

        Raises
        ------
        OSError
            The system lacks something for it, or its descriptors would be the last ones: no result could come then.
        """
        if _free_descriptors.may_lack(OWN_DESCRIPTORS + SPARE_DESCRIPTORS + 1):
            advice = "have more files open (ulimit -n), or ask for fewer workers"
            raise OSError(errno.EMFILE, f"it would leave no descriptors to results: {advice}")
        self.sock, theirs = socket.socketpair()
        opened.callback(self.sock.close)
        try:
            page = anonymous_file("ask")
        except BaseException:
            theirs.close()
            raise
        try:
            os.ftruncate(page, PAGE_BYTES)
            self.page = CancelPage(page)
            opened.callback(self.page.close)
            self._offered = OfferedRuns()
            opened.callback(self._offered.close)
            self.output = TaskOutput()
            opened.callback(self.output.close)
            self.sock.setblocking(False)
            self._outbox = Outbox(self.sock)
            starter.start(ProcessDescriptors(theirs.fileno(), page, *self.output.fds, self._offered.read_fd))
            self.output.close_write_ends()
        finally:
            os.close(page)
            theirs.close()

    def close(self) -> None:
        """Close the socket, the page and the output."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(self.sock)
        self.sock.close()
        self._outbox.close()
        self._assembler.close()
        self.page.close()
        self._offered.close()
        self.output.close()

    # ------------------------------------------------------------------ messages

    def send(self, message: WorkerMessage, descriptors: Sequence[int] = ()) -> None:
        """Queue a message for the process, and write what there is room for.

        Parameters
        ----------
        message
            The message.
        descriptors
            Descriptors that travel with it, and are closed when they are sent.
        """
        self._send([message], descriptors)

    def _send(self, messages: Sequence[WorkerMessage], descriptors: Sequence[int] = ()) -> None:
        self._outbox.put(WORKER_CODEC.encode(messages), descriptors)
        self.flush()

    def flush(self) -> None:
        """Write what there is room for; the selector calls ``serve`` when there is room for the rest."""
        try:
            unsent = not self._outbox.flush()
            if unsent != self.unsent:
                self.unsent = unsent
                self._watch()
        except OSError:  # the process is dying, and will be reaped
            pass

    def _watch(self) -> None:
        """Register the socket for what this object waits for."""
        events = (0 if self.held_back else selectors.EVENT_READ) | (selectors.EVENT_WRITE if self.unsent else 0)
        if self._is_ignored:
            events = 0
        if events == self._registered:
            return
        if not events:
            self._selector.unregister(self.sock)
        elif self._registered:
            self._selector.modify(self.sock, events, self._serve)
        else:
            self._selector.register(self.sock, events, self._serve)
        self._registered = events

    def ignore(self) -> None:
        """Watch the socket no more: the process has closed its end, or has written nonsense."""
        self._is_ignored = True
        self._watch()

    def hold_back(self, held_back: bool) -> None:
        """Read nothing more from the process until this is called with False."""
        self.held_back = held_back
        self._watch()

    def _has_no_room(self) -> bool:
        """Return whether a result that waits to be read would lose its descriptors, for there is no room for them."""
        if self.cause is not None or not _free_descriptors.may_lack(MAX_DESCRIPTORS + SPARE_DESCRIPTORS):
            return False
        if self._held_since is not None and time.monotonic() - self._held_since > LONGEST_HOLD:
            return False
        count, complete = self._assembler.count_descriptors(self.sock)
        return not complete or (count > 0 and _free_descriptors.may_lack(count + SPARE_DESCRIPTORS))

    def received(self) -> Iterator[WorkerMessage]:
        """Yield what the process has sent, until there is no more for now, or this object holds it back.

        Raises
        ------
        ProtocolError, MemoryError
            The process wrote nonsense to its socket.
        EOFError, OSError
            The process has closed its socket.
        """
        while True:
            try:
                if self._has_no_room():
                    self._held_since = self._held_since or time.monotonic()
                    self.hold_back(True)
                    return
                self._held_since = None
                is_open = self._assembler.read(self.sock)
            except BlockingIOError:
                return
            if not is_open:
                raise EOFError
            for frames in self._assembler.batches():
                for message in WORKER_CODEC.decode(frames):
                    yield self._with_own_segments(message)
            if self._assembler.drained:
                return

    def _with_own_segments(self, message: WorkerMessage) -> WorkerMessage:
        """Return a message with the segments that came with it as this process's own."""
        if not isinstance(message, RunFinished) or not message.payload.buffers:
            return message
        came = self._assembler.take_descriptors()
        payload, taken = travelling.arrive(message.payload, came, foreign=False)
        close_descriptors(each for each in came if each not in taken)
        return replace(message, payload=payload)

    # ------------------------------------------------------------------ runs

    def suits(self, context: ClientContext | None) -> bool:
        """Return whether a task of this context can run here: not if other modules of the user's were imported."""
        return not self.modules or self.modules.suit(self.context, context)

    def set_context(self, context: ClientContext | None) -> None:
        """Let the next runs have this context."""
        if context is not None and self.context is not context:
            self.context = context
            self.send(context)

    def run(self, seq: int, task: Task, last: bool, inputs: tuple[Input, ...]) -> None:
        """Send the process its next run.

        Parameters
        ----------
        seq
            The number of the run.
        task
            The task.
        last
            Is this its last try?
        inputs
            The values that the task depends on.
        """
        descriptors: list[int] = []
        depart = partial(travelling.depart, descriptors=descriptors, most=MAX_DESCRIPTORS, give=os.dup)
        run = self._run(PrefetchedRun(seq, task, last))
        if inputs:
            run = replace(
                run, inputs=tuple(Input(each.name, depart(self._sender.shorten(each.value))) for each in inputs)
            )
        self.send(run, descriptors)
        self._offered.offer(seq)

    def _run(self, run: PrefetchedRun) -> Run:
        shorten, task, options = self._sender.shorten, run.task, run.task.options
        function, arguments = shorten(task.function), shorten(task.arguments)
        return _new_run(run.seq, task.task_id, options.name, function, arguments, run.last, (), options.retry_on)

    def prefetch(self, runs: Sequence[PrefetchedRun]) -> None:
        """Send the process runs that come after those which it has."""
        self._send([self._run(run) for run in runs])
        self._offered.offer(*(run.seq for run in runs))

    def recall(self, after: int) -> Sequence[int]:
        """Take back the runs after the one with number ``after`` that have not begun, and return their numbers."""
        return self._offered.withdraw(after)

    def end_handled(self, seq: int) -> None:
        """Let the process begin other runs, after one of which all output was read."""
        self.output.reset()
        self.send(EndHandled(seq))

    def prewarm(self, modules: tuple[str, ...]) -> None:
        """Let the process import modules and then be ready again; without modules, let it stop importing."""
        if modules:
            self.importing = True
        self.send(Prewarm(modules))

    def new_progress(self, seq: int) -> tuple[float, float, str, float, str] | None:
        """Return ``(done, total, note, rate, unit)`` if this run has reported progress since the last call."""
        report = self.page.progress.read_new()
        return report[1:] if report is not None and report[0] == seq else None

    # ------------------------------------------------------------------ the end of the process

    def interrupt(self, seq: int) -> None:
        """Ask a run to stop."""
        if self.cause is not None:
            return  # reaped: the number may be another process's by now
        self.page.request_stop(seq)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGINT)

    def kill(self, others: "Sequence[TaskProcess]", why: str, out_of_memory: bool) -> None:
        """Kill the process and all descendants. The process counts as gone when these, and ``others``, are gone.

        Parameters
        ----------
        others
            Processes that the caller kills, too.
        why
            The reason, which is noted unless the process was dying already.
        out_of_memory
            Is the reason that the process has exceeded its limit of memory?
        """
        self._others += others
        # Reaped: the number may be another process's by now. Killed before: what was missed then is an orphan now.
        if self.cause is not None or self._was_killed:
            return
        if not self.killed_for and not process_tree.is_ending(self.pid):  # the socket closes before the end is noticed
            self.killed_for, self.out_of_memory = why, out_of_memory
        self._lingering = process_tree.freeze(self.pid)
        process_tree.kill_group(self.pid)
        for descendant in self._lingering:
            process_tree.kill(descendant)
        self._was_killed = True

    @property
    def begun(self) -> int:
        """The number of the last run that the process has begun; 0 if it has begun none."""
        return self.page.begun

    @property
    def gone(self) -> bool:
        """Whether nothing is left of the process, its descendants, and the processes that were killed with it."""
        if process_tree.group_exists(self.pid) or any(process_tree.exists(pid) for pid in self._lingering):
            return False
        return all(other.cause is not None and other.gone for other in self._others)
