"""Running of a task on a Scaler worker: the task's code, output and end, and how the task is stopped.

Scaler's worker knows one way to stop a running task: SIGTERM to the process, and SIGKILL 3 s later (2.9,
``worker/agent/processor_holder.py``). The signal alone does not reach a task's code. Here SIGTERM becomes a
KeyboardInterrupt in the task, and the process of a task that obeys ends at once. A client that only asks does so
through the :mod:`.cancel_mailbox`. A task that obeys then waits to be ended, because a cancel is confirmed when the
process is gone.
"""

import contextlib
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from mmap import PAGESIZE
from multiprocessing import process
from types import FrameType
from typing import Any

import psutil

from scaler_notebook.engines.scaler.wire import inband_events
from scaler_notebook.engines.scaler.wire.address import SCHEMES
from scaler_notebook.engines.scaler.wire.envelope import ResultHeader, TaskFailedError, TaskHeader
from scaler_notebook.engines.scaler.wire.packing import content, pack, unpack
from scaler_notebook.engines.scaler.wire.processor import current_name, own_processor
from scaler_notebook.engines.scaler.wire.task_names import task_of
from scaler_notebook.protocol.messages import Initializer, SegmentRef
from scaler_notebook.task.current_task import CurrentTask
from scaler_notebook.task.display import displays
from scaler_notebook.task.interruption.cancel_page import CancelPage
from scaler_notebook.task.interruption.interrupts import ArmedRun, Interrupts
from scaler_notebook.task.isolation.process_state import ProcessState
from scaler_notebook.task.modules.joblib_backend import name_backend
from scaler_notebook.task.progress import watch_for_bars
from scaler_notebook.task.runner import TaskCall, TaskRunner, Transport, TryResult

from .bootstrap import ROOT
from .cancel_mailbox import CancelMailbox
from .delayed_call import DelayedCall
from .output import OutputWriter

ANNOUNCE_AFTER = 0.005  # seconds; the start of a task that ends sooner is not worth a message
FLUSH_INTERVAL = 0.04  # seconds; output and progress that come faster are sent together
CHILDREN_GRACE = 1.0  # seconds that the tasks submitted by a cancelled task get to be cancelled before its process ends
HOST = socket.gethostname()


def run(arguments: bytes, function: bytes, initializer: bytes, *given: bytes) -> bytes:
    """Run a task, and return the packed payload of the task's value.

    Parameters
    ----------
    arguments
        The packed arguments, with a :class:`~scaler_notebook.engines.scaler.wire.envelope.TaskHeader`.
    function
        The packed function.
    initializer
        The packed initializer, a payload of two packed parts: the function and the arguments.
    given
        The packed inputs of the task.

    Raises
    ------
    TaskFailedError
        The task has failed.
    """
    encoded, payload = unpack(arguments)
    head, name = TaskHeader.decode(encoded), current_name()
    inputs = {each: unpack(blob)[1] for each, blob in zip(head.inputs, given, strict=True)}
    call = TaskCall(task_of(name), head.name, unpack(function)[1], payload, inputs, bytes.fromhex(head.retry_on))
    return _process().run(name, call, _initializer(head, initializer), head.omit_value)


def _initializer(head: TaskHeader, packed: bytes) -> Initializer:
    _, both = unpack(packed)
    parts = (both.data, *both.buffers)  # function and arguments
    payloads = [unpack(content(part))[1] for part in parts if not isinstance(part, SegmentRef)]
    return Initializer(head.client, head.initializer, *payloads) if head.client else Initializer()


def _deferring_interrupts(armed: ArmedRun) -> AbstractContextManager[None]:
    """Defer the task's interrupt, within ``with``, on the main thread.

    Other threads that write all the time must not hold the interrupt back, and are not interrupted anyway.
    """
    return armed.shield() if threading.current_thread() is threading.main_thread() else nullcontext()


@cache
def _process() -> "_Process":
    return _Process()


class _Process(Transport):
    """The process of a worker, as the place where tasks of this package's clients run."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile() as file:
            file.truncate(PAGESIZE)
            self._page = CancelPage(file.fileno())
        self._interrupts = Interrupts(self._page, to_group=False)
        self._runner = TaskRunner(self, (ROOT,), f"in process {os.getpid()} on {HOST}")
        self._state = ProcessState()
        self._run: ArmedRun | None = None
        self._name = ""  # the name of the running try at the cluster
        self._output: OutputWriter | None = None
        self._start_call, self._pace = DelayedCall(ANNOUNCE_AFTER), DelayedCall(FLUSH_INTERVAL)
        self._seq = 0
        self._exiting = False  # the worker ends this process
        self._processor = own_processor()
        self._mailbox = self._new_mailbox()
        _repair_multiprocessing()
        displays.prefer_inline_figures()
        watch_for_bars()
        name_backend()
        displays.watch_for_ipython()

    # ------------------------------------------------------------------ one task

    def run(self, name: str, call: TaskCall, initializer: Initializer, omit_value: bool) -> bytes:
        """Run a task as :func:`run` describes.

        Parameters
        ----------
        name
            The name of this try at the cluster.
        call
            The function, its arguments and inputs.
        initializer
            What the task's client has called first in each process.
        omit_value
            Report the end of the task by an in-band event too, because the client does not fetch the value.
        """
        self._seq += 1
        out, err = sys.stdout, sys.stderr
        armed = self._interrupts.new_run(self._seq)
        output = OutputWriter(
            out,
            err,
            self._started,
            self._start_call,
            self._pace,
            defer_interrupts=partial(_deferring_interrupts, armed),
        )
        task = CurrentTask(
            call.task_id,
            call.name,
            armed.stop_requested,
            armed.shield,
            output.report,
            output.publish,
            self._address(),
            process=os.getpid(),
        )
        guard = partial(self._guard, armed)
        self._state.adopt_current()
        with self._handling_signals():
            self._name, self._output, self._run = name, output, armed
            sys.stdout, sys.stderr = output.stdout, output.stderr
            output.begin()
            try:
                finished, figures = self._runner.run(call, task, initializer, guard)
            finally:
                self._name = ""
                sys.stdout, sys.stderr = out, err
        self._run = None
        self._state.restore()  # the rest stays changed: Scaler decides when the process ends
        ended = ResultHeader.of(figures, finished.end.value, finished.summary)
        if omit_value:
            output.send_event(inband_events.EndedEvent(ended.encode().decode()))
        output.close()
        blob = pack(finished.payload, ended.encode())
        if finished.failure is None:
            return blob
        raise TaskFailedError(blob, finished.failure.links[0].headline.rstrip()) from None

    def _guard(
        self, armed: ArmedRun, body: Callable[[], TryResult], failed: Callable[[BaseException], TryResult]
    ) -> TryResult:
        return self._interrupts.run(armed, body, self._report_stopped, failed)

    # ------------------------------------------------------------------ what the runner asks for

    def annotate(self, error: BaseException) -> None:
        """Add to a ModuleNotFoundError what to do about a module that the worker lacks."""
        if issubclass(type(error), ModuleNotFoundError) and (name := getattr(error, "name", None)):
            note = (
                f"The worker on {HOST} has no module {name!r}: install it there, or send it along: "
                f"cloudpickle.register_pickle_by_value({name.partition('.')[0]})"
            )
            noted: Any = error  # mypy for Python 3.10 knows no notes
            noted.__notes__ = [*getattr(error, "__notes__", ()), note]

    def mark_preparing(self, begins: bool) -> None:
        """Tell the process state that the client's initializer begins, or has returned."""
        self._state.record_initializer(begins)

    def flush(self) -> None:
        """Write the output that waits."""
        if self._output is not None:
            self._output.flush()

    # ------------------------------------------------------------------ how it is stopped

    @contextlib.contextmanager
    def _handling_signals(self) -> Any:
        """Handle this process's signals, within ``with``; only a main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        hook = sys.unraisablehook
        self._interrupts.install()
        signal.signal(signal.SIGTERM, self._on_sigterm)
        try:
            yield
        finally:
            sys.unraisablehook = hook
            for number, handler in former.items():
                signal.signal(number, handler)

    def _on_cancel_request(self, name: str) -> None:
        """Interrupt the task of this name, if it runs. Called on the mailbox's thread."""
        run = self._run
        if run is not None and name == self._name:
            self._page.request_stop(run.seq)
            self._interrupts.send(run)

    def _on_sigterm(self, signum: int, frame: FrameType | None) -> None:
        self._exiting = True
        run = self._run
        if run is None or run.stop_requested():  # the grace period is over
            _exit_process()
        self._page.request_stop(self._seq)
        signal.raise_signal(signal.SIGINT)

    def _report_stopped(self) -> TryResult:
        """Report that the task has stopped, and wait to be killed.

        What the task has left behind goes with the process.
        """
        assert self._output is not None
        self._output.flush(last=True)
        if self._exiting:  # no event: if the whole worker ends, Scaler runs the task elsewhere
            _exit_process()
        self._output.send_event(inband_events.StoppedEvent())
        while True:
            time.sleep(60)  # SIGTERM ends it

    # ------------------------------------------------------------------ its surroundings

    def _new_mailbox(self) -> CancelMailbox | None:
        """Return a mailbox for cancel requests; None where the process cannot be interrupted or has no storage."""
        if self._processor is None or threading.current_thread() is not threading.main_thread():
            return None
        from scaler.io.network_backends import get_network_backend_from_env

        # Process ids are reused, and a process has two mailboxes where clients of two versions send code to it.
        identity = f"mailbox|{HOST}|{os.getpid()}|{secrets.token_hex(4)}".encode()
        try:
            storage = get_network_backend_from_env().create_sync_object_storage_connector(
                identity, self._processor.object_storage_address()
            )
        except Exception:  # without a mailbox tasks can be killed but not asked, and the start event says so
            return None
        return CancelMailbox(storage, self._on_cancel_request, self._send_mailbox)

    def _send_mailbox(self) -> None:
        output = self._output
        if self._mailbox is not None and output is not None and output.started_sent:
            output.send_event(inband_events.MailboxEvent(self._mailbox.name))

    def _started(self) -> inband_events.StartedEvent:
        return inband_events.StartedEvent(os.getpid(), HOST, self._mailbox.name if self._mailbox is not None else "")

    def _address(self) -> str:
        """Return the address by which the task's own code reaches the cluster; empty if unknown."""
        if self._processor is None:
            return ""
        address = self._processor.scheduler_address()
        scheme = {wire: scheme for scheme, wire in SCHEMES.items()}.get(address.type.value)
        return f"{scheme}://{address.host}:{address.port}" if scheme is not None else ""


def _repair_multiprocessing() -> None:
    """Restore an attribute that Scaler's process object hides (2.9); without it tasks could not start processes."""
    own: Any = process.current_process()
    if not isinstance(own._identity, tuple):
        own._identity = ()


def _exit_process() -> None:
    """End this process with its subprocesses, and close what its task has opened to clusters and engines."""
    session = sys.modules.get(f"{__package__.partition('.')[0]}.client.session.session")
    if session is not None:
        closing = threading.Thread(target=lambda: [each.close() for each in session.open_sessions()], daemon=True)
        closing.start()
        closing.join(CHILDREN_GRACE)
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    os._exit(1)
