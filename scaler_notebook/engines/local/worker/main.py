"""The task process: its entry point, and the worker that serves the scheduler on the main thread."""

import importlib
import logging
import os
import random
import select
import signal
import socket
import sys
import types
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from multiprocessing import process
from pathlib import Path
from typing import NamedTuple

from scaler_notebook.engines.local.ipc import fd_limits
from scaler_notebook.engines.local.ipc.claims import Claims
from scaler_notebook.engines.local.ipc.framing import MAX_DESCRIPTORS, Assembler
from scaler_notebook.engines.local.ipc.memory import travelling
from scaler_notebook.engines.local.ipc.memory.shared_memory import close_descriptors, map_segments, write_buffers
from scaler_notebook.engines.local.ipc.messages import (
    PROCESS_CAPACITY,
    WORKER_CODEC,
    EndHandled,
    EngineAddress,
    Prewarm,
    Ready,
    ResultPreview,
    Run,
    RunFinished,
    VisibleDevices,
    where_modules_are_found,
)
from scaler_notebook.engines.local.ipc.outbox import send_blocking
from scaler_notebook.engines.local.resource_limits import THREAD_VARIABLES
from scaler_notebook.protocol import devices, settings
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.exceptions import failures
from scaler_notebook.protocol.messages import Buffer, ClientContext, Initializer, Payload, PreviewKind, SegmentRef
from scaler_notebook.protocol.payload_cache import Receiver
from scaler_notebook.protocol.twins import maker
from scaler_notebook.task import top_level
from scaler_notebook.task.current_task import CurrentTask
from scaler_notebook.task.display import displays
from scaler_notebook.task.display.preview import PreviewBudget
from scaler_notebook.task.interruption.cancel_page import CancelPage
from scaler_notebook.task.interruption.interrupts import ArmedRun, Interrupts
from scaler_notebook.task.isolation.left_running import LeftoverDetector
from scaler_notebook.task.isolation.process_state import ProcessState
from scaler_notebook.task.modules.joblib_backend import name_backend
from scaler_notebook.task.modules.notebook_modules import NotebookModules
from scaler_notebook.task.progress import watch_for_bars
from scaler_notebook.task.runner import NO_INPUTS, TaskCall, TaskRunner, Transport, TryResult
from scaler_notebook.task.task_end import TaskEnd

from . import stack_dump
from .given_segments import GivenSegments
from .import_tracker import ImportTracker
from .item_channel import ItemChannel
from .prewarm_imports import PrewarmImporter
from .result_segments import QUIET, ResultSegments
from .streams import TaskStreams

_new_end = maker(RunFinished)
OWN_FILES = (str(Path(__file__).parents[3]) + os.sep,)


def main(sock: socket.socket, page_fd: int, records_fd: int, claims_fd: int) -> None:
    """Run tasks until the scheduler goes away; never returns.

    Parameters
    ----------
    sock
        A blocking stream socket to the scheduler.
    page_fd
        The descriptor of the page that the scheduler shares
        (:class:`~scaler_notebook.task.interruption.cancel_page.CancelPage`); closed here.
    records_fd
        The descriptor of the file for the records of :class:`~.streams.TaskStreams`.
    claims_fd
        The descriptor of the pipe of :class:`~scaler_notebook.engines.local.ipc.claims.Claims`.
    """
    status = 1
    try:
        page = CancelPage(page_fd)
        os.close(page_fd)
        _reset_inherited_state()
        streams = TaskStreams(records_fd)
        streams.begin()
        watch_for_bars()
        name_backend()
        displays.watch_for_ipython()
        stack_dump.install()
        _Worker(sock, page, streams, Claims(claims_fd)).serve()
        status = 0
    except (ConnectionError, ProtocolError):
        pass  # the scheduler is gone, or has no use for this process, and sees the process end
    finally:
        os._exit(status)  # not ``sys.exit``: a task's atexit handlers and threads must not delay the end


def _reset_inherited_state() -> None:
    """Reset what a forked process has from the scheduler: random state, ``__main__``, log handlers, signals."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    # What was pickled by reference to __main__ must not be found in the start-up module of this process.
    sys.modules["__main__"] = types.ModuleType("__main__")
    logging.root.handlers.clear()
    logging.root.setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    importlib.invalidate_caches()


class _ReceivedRun(NamedTuple):
    """A run that was received, and perhaps is taken back before it begins; with the descriptors that came with it."""

    seq: int
    call: TaskCall
    last: bool
    descriptors: list[int]


class _Worker(Transport):
    """Receives messages of the scheduler, and runs tasks.

    Parameters
    ----------
    sock
        A blocking stream socket to the scheduler.
    page
        The page of memory that the scheduler shares.
    streams
        The task's output.
    claims
        Says which run is to begin.
    """

    def __init__(self, sock: socket.socket, page: CancelPage, streams: TaskStreams, claims: Claims) -> None:
        self._pid = os.getpid()
        self._sock = sock
        self._page = page
        self._interrupts = Interrupts(page)
        self._streams = streams
        self._claims = claims
        self._runs: deque[_ReceivedRun] = deque()  # those that were received, and neither begun nor found taken back
        self._waits_for = 0  # the run whose end must be handled before another run begins; 0 for none
        self._receiver = Receiver(PROCESS_CAPACITY)
        self._assembler = Assembler()
        self._received: list[int] = []  # descriptors of the run's inputs, until they are mapped
        self._given = GivenSegments()
        self._results = ResultSegments()
        self._written: list[int] = []  # descriptors of the result's segments, until it is sent
        self._directory = ""  # the kernel's working directory
        self._engine_address = ""
        self._devices: dict[bytes, bytes] = {}  # the variables that say which devices a library sees
        self._depth = str(top_level.depth())
        self._initializer = Initializer()
        self._runner = TaskRunner(self, OWN_FILES, f"in process {self._pid}")
        self._thread_variables = {
            os.fsencode(n): os.environb[os.fsencode(n)] for n in THREAD_VARIABLES if n in os.environ
        }
        self._left_running = LeftoverDetector()
        self._modules = NotebookModules()  # before the state, which has the finders of modules that shall stay
        self._state = ProcessState(accept=self._left_running.accept)
        self._imports = ImportTracker()
        self._shows_results = False
        self._preview_budget = PreviewBudget()
        self._import_path: tuple[object, ...] = ()  # as :func:`where_modules_are_found` gives it

    def serve(self) -> None:
        """Handle the scheduler's messages until the connection is closed."""
        self._interrupts.install()
        send_blocking(self._sock, WORKER_CODEC.encode([Ready(self._pid)]))
        while True:
            while not self._runs or self._waits_for:
                self._read()
            self._run(self._next_run())

    def _read(self) -> None:
        """Wait for messages, and handle them.

        Raises
        ------
        ConnectionError
            The scheduler is gone.
        """
        if self._results.holds_any and not select.select([self._sock], [], [], QUIET)[0]:
            self._forget_results()
        if not self._assembler.read(self._sock):
            raise ConnectionError("the scheduler is gone")
        for frames in self._assembler.batches():
            self._handle(frames)
            del frames  # a process that waits retains nothing of the last task

    def _next_run(self) -> _ReceivedRun:
        """Claim the next run, and return it; those before it were taken back."""
        seq = self._claims.next()
        while True:
            while self._runs:
                if (run := self._runs.popleft()).seq == seq:
                    return run
            self._read()

    def _handle(self, frames: list[Buffer]) -> None:
        """Handle a batch of messages."""
        for message in WORKER_CODEC.decode(frames):
            match message:
                case Run():
                    self._receive_run(message)
                case EndHandled():
                    self._waits_for = 0
                case ClientContext():
                    self._set_context(message)
                case Prewarm():
                    self._prewarm(message)
                case EngineAddress():
                    self._engine_address = message.address
                case VisibleDevices():
                    self._devices = _encoded(devices.visible(message.names))

    def _set_context(self, context: ClientContext) -> None:
        """Take on the client's settings and modules; each run sets the working directory, as tasks may change it."""
        self._directory, self._initializer = context.directory, context.initializer
        self._shows_results = context.shows_results
        process.current_process().authkey = context.authkey
        wanted = dict(os.fsencode(setting).partition(b"=")[::2] for setting in context.environment)
        wanted[os.fsencode(top_level.VARIABLE)] = os.fsencode(self._depth)
        order = _encoded(devices.ORDER) if self._devices else {}
        environment = {**self._thread_variables, **order, **wanted, **self._devices}
        given = {settings.ENVIRONMENT: environment, settings.PATH: list(context.path)}
        self._state.switch_client(context.initializer.client, {**settings.decode(context.settings), **given})
        importlib.invalidate_caches()
        self._imports.forget(self._modules.adopt(context.modules))
        import_path = where_modules_are_found(context)
        if import_path != self._import_path:
            self._import_path = import_path
            with suppress(OSError):
                os.chdir(context.directory)
            self._imports.forget_shadowed()

    def _prewarm(self, prewarm: Prewarm) -> None:
        """Import modules until there is a message, then tell the scheduler that the process can take a task.

        Raises
        ------
        ConnectionError
            The process cannot be used for a task, and is to end.
        """
        if not prewarm.modules:
            return
        with PrewarmImporter() as importer:
            for name in prewarm.modules:
                if select.select([self._sock], [], [], 0)[0]:
                    break
                importer.import_module(name)
        if importer.is_tainted or self._imports.take_new().own:
            raise ConnectionError("of no use to a task: what was imported would be something else there")
        send_blocking(self._sock, WORKER_CODEC.encode([Ready(self._pid)]))

    def _receive_run(self, run: Run) -> None:
        """Queue a run. Its payloads are noted even if it is taken back, so that both ends have the same caches."""
        descriptors = self._assembler.take_descriptors()
        complete = self._receiver.complete
        function, arguments = complete(run.function), complete(run.arguments)
        inputs: Mapping[str, Payload] = NO_INPUTS
        if run.inputs:
            inputs = {each.name: travelling.arrive(complete(each.value), descriptors, True)[0] for each in run.inputs}
        call = TaskCall(run.task_id, run.name, function, arguments, inputs, b"" if run.last else run.retry_on)
        self._runs.append(_ReceivedRun(run.seq, call, run.last, descriptors))

    def _run(self, run: _ReceivedRun) -> None:
        """Run a task, and send the result."""
        self._interrupts.install()
        if self._results.holds_any:
            self._forget_results()
        self._received, call = run.descriptors, run.call
        armed = self._interrupts.new_run(run.seq)
        self._streams.begin()
        task = CurrentTask(
            call.task_id,
            call.name,
            armed.stop_requested,
            armed.shield,
            partial(self._page.progress.write, run.seq),
            self._streams.display,
            self._engine_address,
            ItemChannel(self._sock, self._assembler, run.seq, armed.shield, self._receive_run, self._pid),
            self._pid,
        )
        guard = partial(self._guard, armed)
        finished, figures = self._runner.run(call, task, self._initializer, guard)
        if finished.end is TaskEnd.FAILED and finished.failure is not None and not run.last:
            with suppress(Exception):  # a try that is not the last sends no failure, so its output has the traceback
                print(failures.render(finished.failure).rstrip(), file=sys.stderr)
        self._given.forget()
        if self._received:
            _close(self._received)
        spent = self._clean_up()
        new = self._imports.take_new(figures.started)
        summary = finished.summary.unaccompanied() if spent else finished.summary
        descriptors: list[int] = []
        payload = travelling.depart(finished.payload, descriptors, MAX_DESCRIPTORS, int)
        if self._written:
            _close([each for each in self._written if each not in descriptors])  # of a result that is not sent
            self._written = []
        waits = bool(descriptors) or self._page.progress.writer == run.seq or self._streams.hold_something
        ended = _new_end(run.seq, finished.end, payload, figures, summary, new.installed, new.own, spent, waits)
        if waits or ended.is_last:
            self._waits_for = run.seq
        send_blocking(self._sock, WORKER_CODEC.encode([ended]), descriptors)
        if summary.preview is PreviewKind.FOLLOWS:
            with self._streams.silent():
                bundle = Payload(self._preview_budget.make(finished.value))
            send_blocking(self._sock, WORKER_CODEC.encode([ResultPreview(run.seq, bundle)]))

    def _clean_up(self) -> bool:
        """Undo what the task has changed in this process; True if the process must run no other task."""
        left = self._left_running.find()
        if left.blocking or left.detached:
            for words, found in (("and ended with its process", left.blocking), ("and goes on", left.detached)):
                if found:
                    with suppress(Exception):
                        print(f"left running by the task, {words}: {', '.join(found)}", file=sys.stderr)
        self._streams.flush()
        return not self._state.restore() or bool(left.blocking)

    def _guard(
        self, armed: ArmedRun, body: Callable[[], TryResult], failed: Callable[[BaseException], TryResult]
    ) -> TryResult:
        """Run the body of a task in the kernel's directory, within reach of the scheduler's interrupts.

        Parameters
        ----------
        armed
            The run that interrupts may name.
        body
            Runs the task.
        failed
            Makes the result of what the task has raised.
        """
        return self._interrupts.run(armed, partial(self._in_directory, body), _stopped, failed)

    def _in_directory(self, body: Callable[[], TryResult]) -> TryResult:
        """Run the body of a task in the kernel's directory."""
        if self._directory and self._directory != _working_directory():
            os.chdir(self._directory)
        return body()

    # ------------------------------------------------------------------ Transport

    def open_payload(self, payload: Payload) -> Payload:
        """Map segments; those that came with the run's message are mapped once, and their descriptors closed."""
        if not payload.buffers:
            return payload
        mapped = map_segments(payload)
        self._given.note(payload, mapped)
        came = [each.descriptor for each in payload.buffers if isinstance(each, SegmentRef) and each.pid == self._pid]
        self._received = [each for each in self._received if each not in came]
        close_descriptors(came)
        return mapped

    def export_payload(self, payload: Payload) -> Payload:
        """Write large buffers that are no argument's to segments, which travel with the result's message."""
        if payload.buffers:
            with fd_limits.raised_limit():
                self._results.begin_result()
                payload, self._written = write_buffers(payload, MAX_DESCRIPTORS, self._segment_of)
            self._page.held = self._results.resident
        return payload

    def _segment_of(self, buffer: Buffer) -> int | None:
        """Return a descriptor of a segment with a large buffer of a result; None if one is to be written."""
        found = self._given.reopen(buffer)
        return found if found is not None else self._results.write(buffer)

    def _forget_results(self) -> None:
        """Give the memory of segments back that earlier results were written to, unless large ones still come."""
        self._results.forget_if_quiet()
        self._page.held = self._results.resident

    def held_bytes(self) -> int:
        return self._results.resident

    def may_preview(self) -> bool:
        return self._shows_results and self._preview_budget.allows_another()

    def mark_preparing(self, begins: bool) -> None:
        self._page.preparing = begins
        self._state.record_initializer(begins)

    def flush(self) -> None:
        self._streams.flush()


def _stopped() -> TryResult:
    return TryResult(TaskEnd.STOPPED)


def _encoded(variables: Mapping[str, str]) -> dict[bytes, bytes]:
    """Return variables of the environment as the system has them."""
    return {os.fsencode(name): os.fsencode(value) for name, value in variables.items()}


def _close(descriptors: list[int]) -> None:
    """Close descriptors, and forget them."""
    close_descriptors(descriptors)
    descriptors.clear()


def _working_directory() -> str:
    """Return the working directory; empty if that was removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""
