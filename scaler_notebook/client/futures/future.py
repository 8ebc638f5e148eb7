"""``ScalerFuture``: the standard library's future, with a cancel that waits until the stop is confirmed."""

from collections.abc import Callable, Generator
from concurrent.futures import InvalidStateError, TimeoutError
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from scaler_notebook.client import names
from scaler_notebook.client.task_state import lifecycle
from scaler_notebook.client.task_state.cancel_policy import checked_grace
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.client.task_state.outcome import Outcome
from scaler_notebook.client.waiting import callback_thread
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.locks import call_locked
from scaler_notebook.client.waiting.permission import is_agents_thread, may_wait
from scaler_notebook.protocol.errors import TaskCancelledError
from scaler_notebook.protocol.future_events import CancelRequested, FutureEvent
from scaler_notebook.protocol.messages import Payload
from scaler_notebook.protocol.states import CancelReason

from .conditions import is_answered, wait_or_cancel_async, wait_until, wait_until_async

if TYPE_CHECKING:  # imported by the methods that need them: an engine's start does not wait for that
    from scaler_notebook.client.task_state.flame_graph import FlameGraph
    from scaler_notebook.client.task_state.profiling import ProfileResult
    from scaler_notebook.client.task_state.stack import TaskStack

T = TypeVar("T")
U = TypeVar("U")

CANCEL_TIMEOUT = 30.0  # seconds that cancel() waits unless told otherwise


class ScalerFuture(ObservedTask, Generic[T]):
    """The handle of a task. Made by an executor, never by hand.

    Everything of :class:`concurrent.futures.Future` works, ``await`` too. What differs, deliberately: ``cancel()``
    waits until the engine confirms that the task has stopped, also stops a running one, and on a finished future
    discards the result and returns True.
    """

    if not TYPE_CHECKING:  # as in EngineClient

        def __getattr__(self, name: str) -> Any:
            """Raise an AttributeError, which says what other libraries' methods are called here."""
            __tracebackhide__ = True
            names.raise_missing(self, name, names.OF_FUTURES)

    def __dir__(self) -> list[str]:
        """List what users call; the rest is for views, agents and the standard library."""
        return [*names.OFFERED, *(name for name in super().__dir__() if name.startswith("_"))]

    # ------------------------------------------------------------------ outcome

    def result(self, timeout: float | None = None) -> T:
        """Return the value; wait for it. A cell that waits stays alive: its widgets work.

        Parameters
        ----------
        timeout
            Seconds; None waits for ever.

        Raises
        ------
        TimeoutError
            The task did not finish in time; it goes on.
        TaskCancelledError
            The task was cancelled; the message and ``reason`` say how it ended. (A
            ``concurrent.futures.CancelledError``.)
        Exception
            What the task raised, with its traceback, causes and notes as they were there. The frame that is called
            ``<task … in process …>`` stands between this side's frames and the task's.
        """
        __tracebackhide__ = True  # IPython's convention: a traceback has the user's frames, not these
        try:
            self._wait_for_end(timeout)
            return self._get()
        finally:
            del self  # the future and the traceback would keep each other alive

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the task's exception, or None. Waits, and raises, as :meth:`result` does.

        Parameters
        ----------
        timeout
            Seconds; None waits for ever.
        """
        __tracebackhide__ = True
        self._wait_for_end(timeout)
        return self._ended().load()[1]

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> T:
        """Wait in a coroutine, and return the value; cancel the task if the coroutine is cancelled."""
        __tracebackhide__ = True
        await wait_or_cancel_async([self], self.request_cancel)
        return self._get()

    def _wait_for_end(self, timeout: float | None) -> None:
        """Wait until the task has ended; raise a TimeoutError if it has not in time."""
        __tracebackhide__ = True
        if self.done():
            current_host().run_end_calls()
        elif not wait_until([self], ObservedTask.done, timeout):
            raise TimeoutError(f"{self.call or self.task_id} is still {self.state.value} after {timeout} s")

    def _get(self) -> T:
        """Return the value of a future that is done, or raise what :meth:`result` raises."""
        __tracebackhide__ = True
        outcome: Outcome | None = None
        try:
            outcome = self._ended()
            if outcome.retained_by_engine:
                raise LookupError(
                    f"the value of {self.call or self.task_id} stayed with the engine: name its key in get"
                )
            value: T = outcome.value()
            return value
        finally:
            del self, outcome

    def _ended(self) -> Outcome:
        """Return the outcome of a future that is done; raise a TaskCancelledError if it was cancelled."""
        __tracebackhide__ = True
        outcome = self._outcome
        if outcome is None:
            assert self._reason is not None
            whose = f", {self.origin_name}, whose value it needs" if self.origin else ""
            limit = self._timed_out.limit if self._timed_out and self._reason is CancelReason.TIMED_OUT else ""
            how = f"{self._reason.value}, {limit}" if limit else f"{self._reason.value}{whose}"
            raise TaskCancelledError(f"{self.call or self.task_id}: {how}", self._reason)
        return outcome

    @property
    def retained_by_engine(self) -> bool:
        """Whether the value was left with the engine, for the tasks that need it: nobody can have it here then."""
        outcome = self._outcome
        return outcome is not None and outcome.retained_by_engine

    def content(self) -> Payload:
        """Return the pickle of the value, to be sent to another task; the future is done, and has a value."""
        return self._ended().content()

    # ------------------------------------------------------------------ cancel

    def request_cancel(self, force: bool = True, grace: float | None = None) -> None:
        """Ask the engine to stop the task, and return at once. On a finished future, discard the result.

        Parameters
        ----------
        force
            After the grace period kill the process that runs the task; otherwise the engine answers that it still runs.
        grace
            Seconds that the task gets between the interrupt and that; by default its executor's.

        Raises
        ------
        ValueError
            The grace period is no length of time; nothing was asked.
        """
        self._request(force, grace)

    def request_cancel_unfinished(self, force: bool = True, grace: float | None = None) -> bool:
        """Do as :meth:`request_cancel`, but never discard a result: for buttons and bulk cancels. False if done.

        Parameters
        ----------
        force, grace
            As for :meth:`request_cancel`.
        """
        return self._request(force, grace, keep_result=True) or not self.done()

    def _request(self, force: bool, grace: float | None, keep_result: bool = False) -> bool:
        """Request a cancel; return whether anything has changed.

        Parameters
        ----------
        force, grace
            As for :meth:`request_cancel`.
        keep_result
            Whether a finished future is left as it is.
        """
        grace = None if grace is None else checked_grace(grace)
        return self.handle(CancelRequested(force, grace, keep_result))

    def cancel(self, timeout: float | None = CANCEL_TIMEOUT, force: bool = True, grace: float | None = None) -> bool:
        """Ask the engine to stop the task and wait for its answer; what is returned is exactly ``cancelled()``.

        False means that the task still runs (``refused``) or that no answer came in time (the state stays CANCELLING,
        and a late answer counts). Where waiting would block a loop or a widget's callback, ``cancel`` asks and returns
        at once.

        Parameters
        ----------
        timeout
            Seconds to wait for the answer; None waits for ever.
        force, grace
            As for :meth:`request_cancel`.
        """
        self.request_cancel(force, grace)
        if may_wait():
            self.wait_for_answer(timeout)
        return self.cancelled()

    def wait_for_answer(self, timeout: float | None = CANCEL_TIMEOUT) -> None:
        """Wait until no cancel is under way any more.

        Parameters
        ----------
        timeout
            Seconds to wait at most; None waits for ever.
        """
        wait_until([self], is_answered, timeout)

    async def cancel_async(
        self, timeout: float | None = CANCEL_TIMEOUT, force: bool = True, grace: float | None = None
    ) -> bool:
        """Do as :meth:`cancel`, in a coroutine: wait without blocking the loop.

        Parameters
        ----------
        timeout, force, grace
            As for :meth:`cancel`.
        """
        self.request_cancel(force, grace)
        await wait_until_async([self], is_answered, timeout)
        return self.cancelled()

    def then(self, fn: Callable[..., U], /, *args: Any, **kwargs: Any) -> "ScalerFuture[U]":
        """Submit ``fn(value, *args, **kwargs)``, to run when this task has ended; return its future at once.

        The value goes from task to task. If this task fails, so does the other, with the same exception; if it is
        cancelled, so is the other: *parent cancelled*.

        Parameters
        ----------
        fn
            What is called with the value.
        args, kwargs
            Its arguments after the value.

        Raises
        ------
        RuntimeError
            The executor of this future is gone, or shut down.
        TaskSerializationError
            The function or an argument cannot be pickled.
        """
        if self._session is None:
            raise RuntimeError("this future belongs to no executor that could go on with its value")
        future: ScalerFuture[U] = self._session.submit_with_value(self, fn, args, kwargs)
        return future

    def retry(self) -> "ScalerFuture[T]":
        """Submit the same call again, with its arguments as they were at the first submit; return the new future.

        Raises
        ------
        RuntimeError
            The executor of this future is gone, or shut down.
        EngineStartError
            The engine had ended, and another cannot be started.
        """
        if self._session is None:
            raise RuntimeError("this future belongs to no executor that could try again")
        future: ScalerFuture[T] = self._session.resubmit(self)
        return future

    def rerun_here(self) -> T:
        """Make the call in this process, with its arguments as they were at the submit; return its value.

        ``%debug`` then is the real debugger, in the frames of the call; ``%scaler debug ID`` does both. Around the call
        is what there is here now: working directory, settings, seeds, modules; its functions' globals are those of the
        submit. What it sets in them, or changes in its arguments, stays with this run.

        Raises
        ------
        RuntimeError
            The arguments are gone.
        Exception
            What the call raises.
        """
        __tracebackhide__ = True
        if self._session is None:
            raise RuntimeError("this future belongs to no executor that has its call")
        make_call: Callable[[], T] = self._session.local_call(self)
        del self  # as in result()
        return make_call()

    def where(self) -> "TaskStack":
        """Return the Python stack of the running task's main thread, sampled from outside; the task runs on.

        With py-spy installed (``pip install py-spy``) its process is not even touched. Without it, or where the system
        forbids to read the process, that tells by itself, by a signal. Of a coroutine that waits there is the loop's
        stack.

        Raises
        ------
        RuntimeError
            The task does not run, or not on this machine, or cannot be looked at; the message says why.
        """
        from scaler_notebook.client.task_state.stack import stack_of

        return stack_of(self)

    def profile(self, seconds: int = 5, rate: int = 100) -> "FlameGraph":
        """Sample the running task from outside for some seconds, or until it ends; return a flame graph.

        It shows where the task spends its time, in a notebook as an output that zooms and searches. Needs py-spy
        (``pip install py-spy``) and a system that lets it read the process. The task runs on.

        Parameters
        ----------
        seconds
            How long.
        rate
            How many samples are taken a second.

        Raises
        ------
        ValueError
            A number that is no positive integer.
        RuntimeError
            The task does not run, or not on this machine, or cannot be sampled; the message says why.
        """
        from scaler_notebook.client.task_state.flame_graph import record

        return record(self, seconds, rate)

    def profiling_info(self) -> "ProfileResult":
        """Return what the last try took: time, CPU, memory, bytes. Available as soon as the task is done; never blocks.

        Raises
        ------
        ValueError
            The task is not done yet, or it never ran.
        """
        from scaler_notebook.client.task_state.profiling import profile

        return profile(self)

    # ------------------------------------------------------------------ widgets

    def widget(self) -> Any:
        """Return a live card of the future, for use inside ipywidgets layouts; it lives until its ``close()``.

        Raises
        ------
        RuntimeError
            This is no Jupyter kernel.
        """
        return current_host().widget(self)

    def _display_(self) -> Any:
        """Return what marimo displays."""
        return self.widget()

    # ------------------------------------------------------------------ callbacks

    def add_done_callback(self, fn: Callable[["ScalerFuture[T]"], object]) -> None:
        """Call ``fn(future)`` on the callback thread once the task is done; at once, in the caller, if it is done now.

        What the callback raises is logged. The agent's thread never runs a callback: added there, it goes to the
        callback thread.
        """
        callback_thread.start()
        if call_locked(self._lock, self._keep_callback, fn):
            return
        if is_agents_thread():
            callback_thread.post(fn, self)
        else:
            callback_thread.call_logged(fn, self)

    def _keep_callback(self, fn: Callable[[Any], object]) -> bool:
        """Keep a callback for the end that is still to come; False if the task has ended. With the lock held."""
        if not self._task_state.terminal:
            self._done_callbacks = self._done_callbacks or []
            self._done_callbacks.append(fn)
        return not self._task_state.terminal

    def on_update(self, fn: Callable[["ScalerFuture[T]"], object]) -> Callable[[], None]:
        """Call ``fn(future)`` after each change of state, output or refusal, in the kernel's event loop.

        Without a kernel ``fn`` is called on the callback thread. Returns a function that ends the subscription.
        """

        def notify(future: ObservedTask) -> None:
            current_host().post(lambda: fn(self))

        self.watch(notify)
        return lambda: self.unwatch(notify)

    # ------------------------------------------------------------------ settled by the engine alone

    def handle(self, event: FutureEvent) -> bool:
        """Apply an event by the state table; return False if nothing has changed."""
        return lifecycle.handle(self, event)

    def forget(self, error: BaseException) -> None:
        """In a forked child: end the future with an error, as :func:`.lifecycle.forget`."""
        lifecycle.forget(self, error)

    def set_running_or_notify_cancel(self) -> bool:
        """Raise an InvalidStateError: the engine alone says what runs."""
        raise InvalidStateError("a ScalerFuture is settled by its engine alone")

    def set_result(self, result: Any) -> None:
        """Raise an InvalidStateError: the engine alone settles the future."""
        raise InvalidStateError("a ScalerFuture is settled by its engine alone")

    def set_exception(self, exception: BaseException | None) -> None:
        """Raise an InvalidStateError: the engine alone settles the future."""
        raise InvalidStateError("a ScalerFuture is settled by its engine alone")
