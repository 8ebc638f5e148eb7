"""``ScalerFuture``: the standard library's future, with a cancel that waits until the stop is confirmed."""

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import TimeoutError
from typing import Any, Generic, TypeVar

from scaler_notebook.client.task_state.cancel_policy import checked_grace
from scaler_notebook.client.task_state.lifecycle import TaskLifecycle
from scaler_notebook.client.task_state.outcome import Outcome
from scaler_notebook.client.task_state.profiling import ProfileResult, profile
from scaler_notebook.client.waiting import callback_thread
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.locks import holding
from scaler_notebook.client.waiting.permission import is_agents_thread, may_wait
from scaler_notebook.protocol.errors import TaskCancelledError
from scaler_notebook.protocol.messages import Payload
from scaler_notebook.protocol.states import FutureEvent

from .conditions import answered, until, until_async

T = TypeVar("T")
U = TypeVar("U")

CANCEL_TIMEOUT = 30.0  # seconds that cancel() waits unless told otherwise


class ScalerFuture(TaskLifecycle, Generic[T]):
    """The handle of a task. Made by an executor, never by hand.

    Everything of :class:`concurrent.futures.Future` works, ``await`` too. What differs, deliberately: ``cancel()``
    waits until the engine confirms that the task has stopped, also stops a running one, and on a finished future
    discards the result and returns True.

    Parameters
    ----------
    task_id
        Unique among all clients.
    call
        The call as a person reads it.
    courier
        Takes requests to the engine; None for a future without one.
    policy
        How its tasks are cancelled; shared with the executor.
    """

    # ------------------------------------------------------------------ outcome

    def result(self, timeout: float | None = None) -> T:
        """The value; waits for it up to ``timeout`` seconds. A cell that waits stays alive: its widgets work.

        Raises
        ------
        TimeoutError
            It did not finish in time; it goes on.
        TaskCancelledError
            It was cancelled; the message and ``reason`` say how it ended. (A ``concurrent.futures.CancelledError``.)
        Exception
            What the task raised, with its traceback, causes and notes as they were there. The frame that is called
            ``<task … in process …>`` stands between this side's frames and the task's.
        """
        __tracebackhide__ = True  # IPython's convention: a traceback has the user's frames, not these
        try:
            self._wait_for_end(timeout)
            return self._get()
        finally:
            del self  # the traceback would keep it alive, and it the traceback

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The task's exception, or None. Waits and raises as :meth:`result` does."""
        __tracebackhide__ = True
        self._wait_for_end(timeout)
        return self._ended().load()[1]

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> T:
        __tracebackhide__ = True
        try:
            await until_async([self], TaskLifecycle.done)
        except asyncio.CancelledError:
            if not current_host().stopped():
                self.request_cancel()
            raise
        return self._get()

    def _wait_for_end(self, timeout: float | None) -> None:
        __tracebackhide__ = True
        if not until([self], TaskLifecycle.done, timeout):
            raise TimeoutError(f"{self.call or self.task_id} is still {self.state.value} after {timeout} s")

    def _get(self) -> T:
        __tracebackhide__ = True
        outcome: Outcome | None = None
        try:
            outcome = self._ended()
            if outcome.stays:
                raise LookupError(
                    f"the value of {self.call or self.task_id} stayed with the engine: name its key in get"
                )
            value: T = outcome.value()
            return value
        finally:
            del self, outcome

    def _ended(self) -> Outcome:
        __tracebackhide__ = True
        outcome = self._outcome
        if outcome is None:
            assert self._reason is not None
            whose = f", {self.origin_name}, whose value it needs" if self.origin else ""
            raise TaskCancelledError(f"{self.call or self.task_id}: {self._reason.value}{whose}", self._reason)
        return outcome

    @property
    def stays(self) -> bool:
        """Was its value left with the engine, for the tasks that need it? Nobody can have it here then."""
        outcome = self._outcome
        return outcome is not None and outcome.stays

    def content(self) -> Payload:
        """The pickle of its value, to be sent to another task; it is done, and has one."""
        return self._ended().content()

    # ------------------------------------------------------------------ cancel

    def request_cancel(self, force: bool = True, grace: float | None = None) -> None:
        """Ask the engine to stop the task, and return at once. On a finished future it discards the result.

        Parameters
        ----------
        force
            After the grace period kill the process that runs it; otherwise the engine answers that it still runs.
        grace
            Seconds that the task gets between the interrupt and that; by default its executor's.

        Raises
        ------
        ValueError
            The grace period is no length of time; nothing was asked.
        """
        self._request(force, grace)

    def request_cancel_unfinished(self, force: bool = True, grace: float | None = None) -> bool:
        """:meth:`request_cancel`, but never discards a result: for buttons and bulk cancels. False if it is done."""
        return self._request(force, grace, keep_result=True) or not self.done()

    def _request(self, force: bool, grace: float | None, keep_result: bool = False) -> bool:
        grace = None if grace is None else checked_grace(grace)
        return self.handle(FutureEvent.CANCEL_REQUESTED, force=force, grace=grace, keep_result=keep_result)

    def cancel(self, timeout: float | None = CANCEL_TIMEOUT, force: bool = True, grace: float | None = None) -> bool:
        """Ask the engine to stop the task and wait for its answer; what it returns is exactly ``cancelled()``.

        False means that the task still runs (``refused``) or that no answer came within ``timeout`` seconds (the
        state stays CANCELLING, and a late answer counts). Where waiting would block a loop or a widget's callback,
        it asks and returns at once. ``force`` and ``grace`` are those of :meth:`request_cancel`.
        """
        self.request_cancel(force, grace)
        if may_wait():
            self.wait_for_answer(timeout)
        return self.cancelled()

    def wait_for_answer(self, timeout: float | None = CANCEL_TIMEOUT) -> None:
        """Wait until no cancel is under way any more, at most ``timeout`` seconds."""
        until([self], answered, timeout)

    async def cancel_async(
        self, timeout: float | None = CANCEL_TIMEOUT, force: bool = True, grace: float | None = None
    ) -> bool:
        """:meth:`cancel` for coroutines: waits without blocking the loop."""
        self.request_cancel(force, grace)
        await until_async([self], answered, timeout)
        return self.cancelled()

    def then(self, fn: Callable[..., U], /, *args: Any, **kwargs: Any) -> "ScalerFuture[U]":
        """Submit ``fn(value, *args, **kwargs)``, to run when this one has ended; gives its future at once.

        The value goes from task to task. If this one fails, so does the other, with the same exception; if it is
        cancelled, so is the other: *parent cancelled*.

        Raises
        ------
        RuntimeError
            Its executor is gone, or shut down.
        TaskSerializationError
            The function or an argument cannot be pickled.
        """
        if self._courier is None:
            raise RuntimeError("this future belongs to no executor that could go on with its value")
        future: ScalerFuture[U] = self._courier.follow(self, fn, args, kwargs)
        return future

    def retry(self) -> "ScalerFuture[T]":
        """Submit the same call again, with its arguments as they were at the first submit; gives a new future.

        Raises
        ------
        RuntimeError
            Its executor is gone, or shut down.
        EngineStartError
            The engine had ended, and another cannot be started.
        """
        if self._courier is None:
            raise RuntimeError("this future belongs to no executor that could try again")
        future: ScalerFuture[T] = self._courier.resubmit(self)
        return future

    def profiling_info(self) -> ProfileResult:
        """What its last try took: time, CPU, memory, bytes. There as soon as it is done; blocks never.

        Raises
        ------
        ValueError
            It is not done yet, or it never ran.
        """
        return profile(self)

    # ------------------------------------------------------------------ widgets

    def widget(self) -> Any:
        """A live card of it, for use inside ipywidgets layouts; it lives until its ``close()``.

        Raises
        ------
        RuntimeError
            This is no Jupyter kernel.
        """
        return current_host().widget(self)

    # ------------------------------------------------------------------ who is told

    def add_done_callback(self, fn: Callable[["ScalerFuture[T]"], object]) -> None:
        """Call ``fn(future)`` on the callback thread once it is done; at once, in the caller, if it is done already.

        What the callback raises is logged. The agent's thread never runs it: added there, it goes to the callback
        thread.
        """
        callback_thread.start()
        if holding(self._lock, self._keep_callback, fn):
            return
        if is_agents_thread():
            callback_thread.post(fn, self)
        else:
            callback_thread.call_logged(fn, self)

    def _keep_callback(self, fn: Callable[[Any], object]) -> bool:
        """For the end that is still to come; with the lock held."""
        if not self._task_state.terminal:
            self._done_callbacks.append(fn)
        return not self._task_state.terminal

    def on_update(self, fn: Callable[["ScalerFuture[T]"], object]) -> Callable[[], None]:
        """Call ``fn(future)`` after each change of its state, output or refusal, in the kernel's event loop.

        Without a kernel it is called on the callback thread. Gives a function that ends the subscription.
        """

        def tell(future: TaskLifecycle) -> None:
            current_host().post(lambda: fn(self))

        self.watch(tell)
        return lambda: self.unwatch(tell)
