"""The scheduler's side of one task process."""

import contextlib
import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterator, Sequence

from scaler_notebook.engines.local.ipc.framing import Assembler, Outbox
from scaler_notebook.engines.local.ipc.messages import INNER_CODEC, PROCESS_CAPACITY, InnerMessage, Input, Run, Warm
from scaler_notebook.engines.local.ipc.output_records import anonymous_file
from scaler_notebook.engines.local.scheduler.task_output import TaskOutput
from scaler_notebook.protocol.messages import ClientContext, Task
from scaler_notebook.protocol.payload_cache import Sender
from scaler_notebook.task.interruption.ask_page import AskPage

from . import process_tree
from .exit_cause import ExitCause
from .fork_server import Ends, Starter
from .imported_modules import ImportedModules

PAGE_BYTES = 4096


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
        self.modules = ImportedModules()  # of the user's, that the process has imported
        self.importing = False  # ahead of need
        self.seq = 0  # of its last run
        self.cause: ExitCause | None = None  # once it is reaped
        self.killed_for = ""  # why the scheduler killed it
        self.out_of_memory = False  # was it killed for that?
        self.reaped_at = 0.0  # monotonic seconds
        self._lingering: list[int] = []  # descendants that were killed with it
        self._others: list[TaskProcess] = []  # that ran what its task had submitted, and were killed with it
        self._selector = selector
        self._serve = lambda: serve(self)
        self.unsent = False  # is there more to write than the socket takes?
        self._sender = Sender(PROCESS_CAPACITY)
        self._assembler = Assembler()
        with contextlib.ExitStack() as opened:
            self._start(starter, opened)
            selector.register(self.sock, selectors.EVENT_READ, self._serve)
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
            os.ftruncate(page, PAGE_BYTES)
            self.page = AskPage(page)
            opened.callback(self.page.close)
            self.output = TaskOutput()
            opened.callback(self.output.close)
            self.sock.setblocking(False)
            self._outbox = Outbox(self.sock)
            starter.start(Ends(theirs.fileno(), page, *self.output.fds))
            self.output.hand_over()
        finally:
            os.close(page)
            theirs.close()

    def close(self) -> None:
        """Free everything but the process itself."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(self.sock)
        self.sock.close()
        self.page.close()
        self.output.close()

    # ------------------------------------------------------------------ messages

    def send(self, message: InnerMessage) -> None:
        """Queue a message for the process."""
        self._outbox.put(INNER_CODEC.encode([message]))
        self.flush()

    def flush(self) -> None:
        """Write as much of what is queued as there is room for; the rest when the selector says that there is more."""
        with contextlib.suppress(OSError):  # the process is dying: SIGCHLD tells the rest
            unsent = not self._outbox.flush()
            if unsent != self.unsent:
                self.unsent = unsent
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if unsent else 0)
                self._selector.modify(self.sock, events, self._serve)

    def received(self) -> Iterator[InnerMessage]:
        """Yield what the process has sent, until there is no more for now.

        Raises
        ------
        ProtocolError, MemoryError
            The process wrote nonsense to its socket.
        EOFError, OSError
            The process has closed its socket.
        """
        with contextlib.suppress(BlockingIOError):
            while self._assembler.read(self.sock):
                for frames in self._assembler.batches():
                    yield from INNER_CODEC.decode(frames)
                if self._assembler.drained:
                    return
            raise EOFError

    # ------------------------------------------------------------------ runs

    def suits(self, context: ClientContext | None) -> bool:
        """Could a task of this context run here? Not if it would meet modules of the user's that are not its own."""
        return not self.modules or self.modules.suit(self.context, context)

    def move(self, context: ClientContext | None) -> None:
        """Run what comes next in ``context``."""
        if context is not None and self.context is not context:
            self.context = context
            self.send(context)

    def run(self, seq: int, task: Task, last: bool, inputs: tuple[Input, ...]) -> None:
        """Hand over the next run.

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
        shorten, options = self._sender.shorten, task.options
        self.seq = seq
        function, arguments = shorten(task.function), shorten(task.arguments)
        given = tuple(Input(each.name, shorten(each.value)) for each in inputs)
        self.send(Run(seq, task.task_id, options.name, function, arguments, last, given, options.retry_on))

    def warm(self, modules: tuple[str, ...]) -> None:
        """Import these modules and be ready again; without modules: stop importing."""
        if modules:
            self.importing = True
        self.send(Warm(modules))

    def new_progress(self) -> tuple[float, float, str] | None:
        """Give ``(done, total, note)`` if the run has reported since the last call."""
        report = self.page.progress.news()
        return report[1:] if report is not None and report[0] == self.seq else None

    # ------------------------------------------------------------------ its end

    def interrupt(self, seq: int) -> None:
        """Ask a run to stop."""
        if self.cause is not None:
            return  # its number may be another process's by now
        self.page.ask(seq)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGINT)

    def kill(self, others: "Sequence[TaskProcess]", why: str, out_of_memory: bool) -> None:
        """Kill the process and all that it started; when they and ``others`` are gone, it has died.

        Parameters
        ----------
        others
            Processes that are killed too, by somebody else.
        why, out_of_memory
            The reason, unless the process was dying already.
        """
        self._others += others
        if self.cause is not None:
            return  # its number may be another process's by now
        if not self.killed_for and not process_tree.is_ending(self.pid):  # its socket closes before its death is seen
            self.killed_for, self.out_of_memory = why, out_of_memory
        descendants = process_tree.freeze(self.pid)
        self._lingering += descendants  # a second call may find them orphaned, and no longer its own
        process_tree.kill_group(self.pid)
        for descendant in descendants:
            process_tree.kill(descendant)

    @property
    def has_begun(self) -> bool:
        """Has the process begun its last run?"""
        return self.page.begun == self.seq

    @property
    def gone(self) -> bool:
        """Is nothing left of the process and of what it started?"""
        if process_tree.group_exists(self.pid) or any(process_tree.exists(pid) for pid in self._lingering):
            return False
        return all(other.cause is not None and other.gone for other in self._others)
