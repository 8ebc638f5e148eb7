"""Running of a task, the same on every engine.

A process (a thread, for the engine on threads) that runs tasks has one :class:`TaskRunner`. The runner calls the
client's initializer before the client's first task, gives the task its inputs, sets the current task, calls the
function, shows the figures that are left open, captures a failure, and measures the resources. The parts that differ
between engines are handed in: where payloads are (:class:`Transport`), and what interrupts a task (a :data:`Guard`).
"""

import os
import pickle
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.exceptions import failures
from scaler_notebook.protocol.exceptions.failures import RemoteFailure
from scaler_notebook.protocol.messages import Initializer, Payload, PreviewKind, ResultSummary, TaskFigures
from scaler_notebook.protocol.pickling.loading.unpickling_context import MAIN, UnpicklingContext

from . import current_task, inputs, top_level
from .bindings import Bindings
from .calls.call_loader import CallLoader, LoadedCall
from .calls.coroutines import completed
from .calls.generator import GeneratorCall
from .current_task import CurrentTask
from .display import displays
from .display.summary import summary
from .resource_usage import Measurement, PeakReset
from .task_end import TaskEnd

NO_INPUTS: Mapping[str, Payload] = MappingProxyType({})


class TaskCall(NamedTuple):
    """One try of a task.

    Parameters
    ----------
    task_id, name
        As in :class:`~.current_task.CurrentTask`.
    function
        The pickled function.
    arguments
        The pickle of ``(args, kwargs)``.
    inputs
        The values that the arguments refer to, by id.
    retry_on
        The pickled classes of exceptions after which the task is tried again; empty for all.
    """

    task_id: str
    name: str
    function: Payload
    arguments: Payload
    inputs: Mapping[str, Payload] = NO_INPUTS
    retry_on: bytes = b""


class TryResult(NamedTuple):
    """The end of a try: with a value (pickled, summarized, and itself), or with a failure (pickled, and itself)."""

    end: TaskEnd
    payload: Payload = Payload(b"")
    failure: RemoteFailure | None = None
    summary: ResultSummary = ResultSummary()
    value: Any = None


OnFailure: TypeAlias = Callable[[BaseException], TryResult]
Guard: TypeAlias = Callable[[Callable[[], TryResult], OnFailure], TryResult]


def unguarded(body: Callable[[], TryResult], failed: OnFailure) -> TryResult:
    """Run the body without interrupts. This is the :data:`Guard` of an engine that interrupts nothing.

    Parameters
    ----------
    body
        The run of a task.
    failed
        Makes a result from an exception that the body raises.
    """
    try:
        return body()
    except BaseException as error:  # SystemExit too: it ends the task, not the thread
        return failed(error)


class Transport:
    """An engine's own part of a run; as it stands, that of an engine whose payloads are all in this process."""

    def open_payload(self, payload: Payload) -> Payload:
        """Return a payload with buffers that can be read in this process."""
        return payload

    def export_payload(self, payload: Payload) -> Payload:
        """Return the payload of a result with buffers that outlive this process."""
        return payload

    def held_bytes(self) -> int:
        """Return the bytes of this process's memory that are no task's."""
        return 0

    def may_preview(self) -> bool:
        """Return whether a preview may follow the result, if the value's type is cheap to preview."""
        return False

    def mark_preparing(self, begins: bool) -> None:
        """Note that the client's initializer begins, or has returned."""

    def annotate(self, error: BaseException) -> None:
        """Add to an exception what only the engine knows about the place where it was raised."""

    def flush(self) -> None:
        """Send what the task has written."""


class TaskRunner:
    """A runner of one task after the other.

    Parameters
    ----------
    transport
        The engine's own part.
    own_files
        Prefixes of this package's file names, whose frames are not shown to the user.
    location
        Where tasks run, for tracebacks, e.g. ``in process 123``; empty for none.
    per_thread
        Whether a task has a thread to itself and not the process.
    """

    def __init__(
        self, transport: Transport, own_files: tuple[str, ...], location: str = "", per_thread: bool = False
    ) -> None:
        self._transport = transport
        self._own_files = own_files
        self._location = location
        self._per_thread = per_thread
        self._bindings = {"": Bindings()}  # by client, once the client's initializer has run
        self._loader = CallLoader(transport.open_payload)
        self._preparing = False
        self._pid = os.getpid()
        self._processor = str(self._pid)
        self._peak = None if per_thread else PeakReset()
        if not per_thread:
            top_level.mark_task_process()

    def run(
        self, call: TaskCall, task: CurrentTask, initializer: Initializer, guard: Guard = unguarded
    ) -> tuple[TryResult, TaskFigures]:
        """Run a task to its end.

        Parameters
        ----------
        call
            The function, its arguments and inputs.
        task
            The task as its own code sees it.
        initializer
            The call that the task's client wants before its first task.
        guard
            Called with the body of the run, and with a function that makes a result from an exception. Returns the
            result of one of them, or makes a result from an interrupt.

        Returns
        -------
        TryResult, TaskFigures
            How the try ended, and what it cost. In a process that the task has forked this method does not return.
        """
        measurement = Measurement(self._peak, self._processor, self._transport.held_bytes())
        main = sys.modules[MAIN]
        (current_task.begin_on_thread if self._per_thread else current_task.begin)(task)
        finished = None
        try:
            finished = guard(partial(self._body, call, initializer), partial(self._failed, call, initializer))
        finally:
            if os.getpid() != self._pid:  # a forked child has returned from the task's function
                self._leave_fork(finished is None or finished.end is not TaskEnd.SUCCESS)
            (current_task.end_on_thread if self._per_thread else current_task.end)()
            inputs.end()
            sys.modules[MAIN] = main
            self._loader.forget_context()  # nothing of the task is retained
        return finished, measurement.figures()

    def _body(self, call: TaskCall, initializer: Initializer) -> TryResult:
        """Run the task, with unpickling and pickling: they run the user's code too, and can be interrupted."""
        open_payload = self._transport.open_payload
        begin_inputs = inputs.begin_on_thread if self._per_thread else inputs.begin
        begin_inputs({name: open_payload(value) for name, value in call.inputs.items()} if call.inputs else {})
        bindings = self._prepare(initializer)
        return copy_context().run(self._call, call, bindings)  # what the task sets in context variables ends with it

    def _call(self, call: TaskCall, bindings: Bindings) -> TryResult:
        """Unpickle the call, make it, and pickle its value."""
        function, args, kwargs = self._loaded(call.function, call.arguments, bindings)
        if isinstance(function, GeneratorCall):
            function.returning = self._loader.context.returning
        try:
            value = completed(function(*args, **kwargs))
            if not self._per_thread:
                displays.release_figure(value)
            try:
                with self._loader.context.returning():
                    payload = payloads.dump(value)
            except Exception as error:
                raise payloads.serialization_error(f"the result of {call.name}", value, error) from error
        finally:
            if not self._per_thread:  # otherwise the open figures are the kernel's
                displays.flush_figures()
        summary = _summary(value)
        if summary.preview is not PreviewKind.FOLLOWS or not self._transport.may_preview():
            summary, value = summary.unaccompanied(), None  # so that the value's end is part of the task
        return TryResult(TaskEnd.SUCCESS, self._transport.export_payload(payload), None, summary, value)

    def _prepare(self, initializer: Initializer) -> Bindings:
        """Call the client's initializer, unless that was done before, and return the names that it has bound."""
        bindings = self._bindings.get(initializer.client)
        if bindings is None:
            self._preparing = True
            self._transport.mark_preparing(True)
            bindings, context = Bindings(), UnpicklingContext()
            function, args, kwargs = self._loader.load(initializer.function, initializer.arguments, context)
            with bindings.recording(context):
                completed(function(*args, **kwargs))
            self._bindings[initializer.client] = bindings
            self._preparing = False
            self._transport.mark_preparing(False)
        return bindings

    def _loaded(self, function: Payload, arguments: Payload, bindings: Bindings) -> LoadedCall:
        if self._per_thread:  # the notebook's classes and names are in this process
            open_payload = self._transport.open_payload
            args, kwargs = payloads.load(open_payload(arguments))
            return LoadedCall(payloads.load(open_payload(function)), args, kwargs)
        return self._loader.load_for_task(function, arguments, bindings)

    def _failed(self, call: TaskCall, initializer: Initializer, error: BaseException) -> TryResult:
        """Make the result of a try from an exception of the task or the initializer."""
        if os.getpid() != self._pid:
            traceback.print_exception(error)
            self._leave_fork(True)
        with suppress(Exception):
            self._transport.annotate(error)
        if self._preparing:
            self._preparing = False
            self._transport.mark_preparing(False)
            failure = failures.capture(error, self._own_files, self._where("initializer"), initializer.name)
            return TryResult(TaskEnd.UNPREPARED, payloads.dump(failure), failure)
        with self._loader.context.returning():
            failure = failures.capture(error, self._own_files, self._where(f"task {call.task_id}"), call.name)
        end = TaskEnd.FAILED if _is_to_retry(call.retry_on, error) else TaskEnd.FAILED_FOR_GOOD
        return TryResult(end, payloads.dump(failure), failure)

    def _where(self, what: str) -> str:
        return f"{what} {self._location}" if self._location else ""

    def _leave_fork(self, failed: bool) -> None:
        self._transport.flush()
        os._exit(failed)


def _summary(value: Any) -> ResultSummary:
    try:
        return summary(value)
    except Exception:  # raised by a library, or by objects in an array; the task has succeeded all the same
        return ResultSummary(type.__getattribute__(type(value), "__name__"))


def _is_to_retry(retry_on: bytes, error: BaseException) -> bool:
    """Return whether a task may be tried again after an exception."""
    if not retry_on:
        return True
    try:  # a class that travelled by value is the same object in the task's own code
        return isinstance(error, pickle.loads(retry_on))
    except Exception as problem:
        with suppress(Exception):
            words = f"{type(problem).__name__}: {problem}"
            print(f"not tried again: what retry_on names cannot be loaded in this process: {words}", file=sys.stderr)
        return False
