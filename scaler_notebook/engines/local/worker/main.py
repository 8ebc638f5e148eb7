"""The process that runs tasks, one at a time, on its main thread."""

import importlib
import logging
import os
import random
import select
import signal
import socket
import sys
import types
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import process
from pathlib import Path

from scaler_notebook.engines.local.ipc import fd_limits
from scaler_notebook.engines.local.ipc.framing import Assembler, send_blocking
from scaler_notebook.engines.local.ipc.memory.shared_memory import close_all, mapped, written
from scaler_notebook.engines.local.ipc.messages import (
    INNER_CODEC,
    PROCESS_CAPACITY,
    Ended,
    Home,
    Previewed,
    Ready,
    Run,
    Taken,
    Warm,
    where_modules_are_found,
)
from scaler_notebook.engines.local.resource_limits import THREAD_VARIABLES
from scaler_notebook.protocol import failures, settings
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import Buffer, ClientContext, Initializer, Payload, PreviewKind
from scaler_notebook.protocol.payload_cache import Receiver
from scaler_notebook.task import top_level
from scaler_notebook.task.current_task import CurrentTask
from scaler_notebook.task.display import displays
from scaler_notebook.task.display.preview import Allowance
from scaler_notebook.task.interruption.ask_page import AskPage
from scaler_notebook.task.interruption.interrupts import ArmedRun, Interrupts
from scaler_notebook.task.isolation.left_running import LeftRunning
from scaler_notebook.task.isolation.process_state import ProcessState
from scaler_notebook.task.modules.notebook_modules import NotebookModules
from scaler_notebook.task.progress import watch_for_tqdm
from scaler_notebook.task.runner import Call, Finished, TaskRunner, Transport
from scaler_notebook.task.task_end import TaskEnd

from .import_tracker import Imported
from .prewarm_imports import Prewarming
from .streams import TaskStreams

OWN_FILES = (str(Path(__file__).parents[3]) + os.sep,)


def main(sock: socket.socket, page_fd: int, records_fd: int) -> None:
    """Serve runs until the scheduler goes away; never returns.

    Parameters
    ----------
    sock
        A blocking stream socket to the scheduler.
    page_fd
        The shared page of :class:`~scaler_notebook.task.interruption.interrupts.AskPage`; closed here once mapped.
    records_fd
        The file for what :class:`~.streams.TaskStreams` notes.
    """
    status = 1
    try:
        page = AskPage(page_fd)
        os.close(page_fd)
        _settle_in()
        streams = TaskStreams(records_fd)
        streams.begin()
        watch_for_tqdm()
        displays.watch_for_ipython()
        _Server(sock, page, streams).serve()
        status = 0
    except (ConnectionError, ProtocolError):
        pass  # the scheduler is gone, or we are of no use to it: either way it sees our end
    finally:
        os._exit(status)  # no atexit handler and no thread of a task may keep us


def _settle_in() -> None:
    """Be nobody's copy: an own random state, an own ``__main__``, no handlers of the scheduler's log."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    # Whatever pickles by reference to __main__ must fail to be found here, not find our start-up module.
    sys.modules["__main__"] = types.ModuleType("__main__")
    logging.root.handlers.clear()
    logging.root.setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    importlib.invalidate_caches()


class _Server(Transport):
    def __init__(self, sock: socket.socket, page: AskPage, streams: TaskStreams) -> None:
        self._sock = sock
        self._page = page
        self._interrupts = Interrupts(page)
        self._streams = streams
        self._receiver = Receiver(PROCESS_CAPACITY)
        self._lent: list[int] = []
        self._directory = ""  # of the kernel
        self._home = ""  # address of the engine
        self._depth = str(top_level.depth())
        self._initializer = Initializer()
        self._runner = TaskRunner(self, OWN_FILES, f"in process {os.getpid()}")
        self._threads = {os.fsencode(n): os.environb[os.fsencode(n)] for n in THREAD_VARIABLES if n in os.environ}
        self._left_running = LeftRunning()
        self._state = ProcessState(accept=self._left_running.accept)
        self._modules = NotebookModules()
        self._imported = Imported()
        self._shows_results = False
        self._previews = Allowance()
        self._search: tuple[object, ...] = ()  # the path on which modules were found, and where its first part leads

    def serve(self) -> None:
        self._interrupts.install()
        send_blocking(self._sock, INNER_CODEC.encode([Ready(os.getpid())]))
        assembler = Assembler()
        while assembler.read(self._sock):
            for frames in assembler.batches():
                self._act_upon(frames)
                del frames  # while it waits, a process holds nothing of what it has run

    def _act_upon(self, frames: list[Buffer]) -> None:
        for message in INNER_CODEC.decode(frames):
            match message:
                case Run():
                    self._run(message)
                case Taken():
                    self._free_lent()
                case ClientContext():
                    self._move(message)
                case Warm():
                    self._warm(message)
                case Home():
                    self._home = message.address

    def _free_lent(self) -> None:
        close_all(self._lent)
        self._lent = []

    def _move(self, context: ClientContext) -> None:
        """Take on the kernel's surroundings; the directory at each run, for a task may change it."""
        self._directory, self._initializer = context.directory, context.initializer
        self._shows_results = context.shows_results
        process.current_process().authkey = context.authkey
        wanted = dict(os.fsencode(setting).partition(b"=")[::2] for setting in context.environment)
        wanted[os.fsencode(top_level.VARIABLE)] = os.fsencode(self._depth)
        given = {settings.ENVIRONMENT: {**self._threads, **wanted}, settings.PATH: list(context.path)}
        self._state.move(context.initializer.client, {**settings.decode(context.settings), **given})
        importlib.invalidate_caches()
        self._imported.forget(self._modules.adopt(context.modules))
        search = where_modules_are_found(context)
        if search != self._search:
            self._search = search
            with suppress(OSError):
                os.chdir(context.directory)
            self._imported.forget_hidden()

    def _warm(self, warm: Warm) -> None:
        """Import until there is something better to do."""
        if not warm.modules:
            return
        with Prewarming() as prewarming:
            for name in warm.modules:
                if select.select([self._sock], [], [], 0)[0]:
                    break
                prewarming.import_module(name)
        if prewarming.spoilt or self._imported.news().own:
            raise ConnectionError("of no use to a task: what was imported would be something else there")
        send_blocking(self._sock, INNER_CODEC.encode([Ready(os.getpid())]))

    def _run(self, run: Run) -> None:
        self._interrupts.install()
        self._free_lent()
        armed = self._interrupts.new_run(run.seq)
        # Here, not in the body: what an interrupt cut short would leave the two ends with different memories.
        complete = self._receiver.complete
        call = Call(
            run.task_id,
            run.name,
            complete(run.function),
            complete(run.arguments),
            {each.name: complete(each.value) for each in run.inputs},
            b"" if run.last else run.retry_on,
        )
        self._streams.begin()
        reporter = partial(self._page.progress.write, run.seq)
        task = CurrentTask(
            run.task_id, run.name, armed.asked, armed.shield, reporter, self._streams.display, self._home
        )
        guard = partial(self._guard, armed)
        finished, figures = self._runner.run(call, task, self._initializer, guard)
        if finished.end is TaskEnd.FAILED and finished.failure is not None and not run.last:
            with suppress(Exception):  # its output alone will tell of it
                print(failures.render(finished.failure).rstrip(), file=sys.stderr)
        spent = self._clean_up()
        news = self._imported.news(figures.started)
        summary = finished.summary.unaccompanied() if spent else finished.summary
        ended = Ended(run.seq, finished.end, finished.payload, figures, news.installed, news.own, spent, summary)
        send_blocking(self._sock, INNER_CODEC.encode([ended]))
        if summary.preview is PreviewKind.FOLLOWS:
            with self._streams.silent():
                bundle = Payload(self._previews.make(finished.value))
            send_blocking(self._sock, INNER_CODEC.encode([Previewed(run.seq, bundle)]))

    def _clean_up(self) -> bool:
        """What the task has left must not meet the next one; True if it would, here."""
        left = self._left_running.find()
        for words, found in (("and ended with its process", left.in_the_way), ("and goes on", left.aside)):
            if found:
                with suppress(Exception):
                    print(f"left running by the task, {words}: {', '.join(found)}", file=sys.stderr)
        self._streams.flush()
        return not self._state.put_back() or bool(left.in_the_way)

    def _guard(
        self, armed: ArmedRun, body: Callable[[], Finished], failed: Callable[[BaseException], Finished]
    ) -> Finished:
        """Have the scheduler's interrupts reach the run, which begins in the kernel's directory."""

        def in_directory() -> Finished:
            if self._directory and self._directory != _working_directory():
                os.chdir(self._directory)
            return body()

        return self._interrupts.run(armed, in_directory, lambda: Finished(TaskEnd.STOPPED), failed)

    # ------------------------------------------------------------------ what the runner asks for

    def opened(self, payload: Payload) -> Payload:
        return mapped(payload)

    def lent(self, payload: Payload) -> Payload:
        """Put large buffers where they outlive us; the scheduler has opened them when it sends more."""
        if payload.buffers:
            with fd_limits.lifted():
                payload, self._lent = written(payload)
        return payload

    def previews(self) -> bool:
        return self._shows_results and self._previews.is_left()

    def preparing(self, begins: bool) -> None:
        self._page.preparing = begins
        self._state.initializer(begins)

    def flush(self) -> None:
        self._streams.flush()


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""
