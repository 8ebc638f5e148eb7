"""``ScalerFuture``: the standard library's future, with a cancel that waits until the stop is confirmed."""

import asyncio
import contextlib
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, TimeoutError
from typing import Any, Generic, TypeVar

from ..protocol.states import Event, TaskState
from . import callbacks, waiting
from .lifecycle import TaskLifecycle

T = TypeVar("T")

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
    grace
        Seconds that a running task gets between the interrupt and the kill or the refusal.
    """

    # ------------------------------------------------------------------ outcome

    def result(self, timeout: float | None = None) -> T:
        """The value; waits for it up to ``timeout`` seconds. A cell that waits stays alive: its widgets work.

        Raises
        ------
        TimeoutError
            It did not finish in time; it goes on.
        concurrent.futures.CancelledError
            It was cancelled; the message says how it ended.
        Exception
            What the task raised, the remote traceback as its ``__cause__``.
        """
        self._wait_until(self.done, timeout)
        return self._get()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The task's exception, or None. Waits and raises as :meth:`result` does."""
        self._wait_until(self.done, timeout)
        self._load()
        if self.cancelled():
            raise self._cancelled_error()
        return self._error

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> T:
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()

        def wake(future: TaskLifecycle) -> None:
            if future.done():
                with contextlib.suppress(RuntimeError):  # the loop was closed: nobody awaits us any more
                    loop.call_soon_threadsafe(woken.set)

        self.watch(wake)
        try:
            if not self.done():
                await woken.wait()
        except asyncio.CancelledError:
            if not waiting.host().stopped():
                self.request_cancel()
            raise
        finally:
            self.unwatch(wake)
        return self._get()

    def _get(self) -> T:
        self._load()
        if self.cancelled():
            raise self._cancelled_error()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self = None  # type: ignore[assignment]  # the traceback would keep the future alive, and it the traceback
        value: T = self._value
        return value

    def _cancelled_error(self) -> CancelledError:
        reason = self._reason.value if self._reason is not None else ""
        return CancelledError(f"{self.call or self.task_id}: {reason}")

    # ------------------------------------------------------------------ cancel

    def request_cancel(self, force: bool = True) -> None:
        """Ask the engine to stop the task, and return at once. On a finished future it discards the result.

        Parameters
        ----------
        force
            After the grace period kill the process that runs it; otherwise the engine answers that it still runs.
        """
        self.handle(Event.CANCEL_REQUESTED, force=force)

    def request_cancel_unfinished(self, force: bool = True) -> bool:
        """:meth:`request_cancel`, but never discards a result: for buttons and bulk cancels. False if it is done."""
        return self.handle(Event.CANCEL_REQUESTED, force=force, keep_result=True) or not self.done()

    def cancel(self, timeout: float | None = CANCEL_TIMEOUT, force: bool = True) -> bool:
        """Ask the engine to stop the task and wait for its answer; what it returns is exactly ``cancelled()``.

        False means that the task still runs (``refused``) or that no answer came within ``timeout`` seconds (the
        state stays CANCELLING, and a late answer counts). Where waiting would block a loop or a widget's callback,
        it asks and returns at once.
        """
        self.request_cancel(force)
        if waiting.may_wait():
            self.wait_for_answer(timeout)
        return self.cancelled()

    def wait_for_answer(self, timeout: float | None = CANCEL_TIMEOUT) -> None:
        """Wait until no cancel is under way any more, at most ``timeout`` seconds."""
        with contextlib.suppress(TimeoutError):
            self._wait_until(lambda: self._task_state is not TaskState.CANCELLING, timeout)

    async def cancel_async(self, timeout: float | None = CANCEL_TIMEOUT, force: bool = True) -> bool:
        """:meth:`cancel` for coroutines: waits without blocking the loop."""
        loop = asyncio.get_running_loop()
        answered = asyncio.Event()

        def wake(future: TaskLifecycle) -> None:
            if future.state is not TaskState.CANCELLING:
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(answered.set)

        self.request_cancel(force)
        self.watch(wake)
        try:
            if self._task_state is TaskState.CANCELLING:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(answered.wait(), timeout)
        finally:
            self.unwatch(wake)
        return self.cancelled()

    # ------------------------------------------------------------------ who is told

    def add_done_callback(self, fn: Callable[["ScalerFuture[T]"], object]) -> None:
        """Call ``fn(future)`` once it is done, on the callback thread; also if it is done already."""
        with self._condition:
            if not self._task_state.terminal:
                self._done_callbacks.append(fn)
                return
        callbacks.post(lambda: fn(self))

    def on_update(self, fn: Callable[["ScalerFuture[T]"], object]) -> Callable[[], None]:
        """Call ``fn(future)`` after each change of its state, output or refusal, in the kernel's event loop.

        Without a kernel it is called on the callback thread. Gives a function that ends the subscription.
        """

        def tell(future: TaskLifecycle) -> None:
            waiting.host().post(lambda: fn(self))

        self.watch(tell)
        return lambda: self.unwatch(tell)

    def _wait_until(self, condition: Callable[[], bool], timeout: float | None) -> None:
        if condition():
            return
        signal = waiting.Signal()

        def wake(future: TaskLifecycle) -> None:
            if condition():
                signal.set()

        self.watch(wake)
        try:
            if not condition() and not waiting.host().wait(signal, timeout) and not condition():
                raise TimeoutError(f"{self.call or self.task_id} is still {self._task_state.value} after {timeout} s")
        finally:
            self.unwatch(wake)
