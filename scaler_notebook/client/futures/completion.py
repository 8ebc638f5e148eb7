"""``wait`` and ``as_completed``: the standard library's, with waits that keep a cell's kernel alive."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, Future, TimeoutError, _base
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, DoneAndNotDoneFutures
from typing import Any, TypeVar

from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.locks import call_locked
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.wording import with_article

from .future import ScalerFuture
from .interrupt_policy import apply_interrupt_policy, apply_policy_on_interrupt

ENDED = {CANCELLED_AND_NOTIFIED, FINISHED}  # a future that is CANCELLED alone has yet to notify its waiters

F = TypeVar("F", bound="Future[Any]")
T = TypeVar("T")


class _Waiter(_base._Waiter):
    """A waiter that futures of the standard library notify at their end (``Future._waiters``), under their lock."""

    def __init__(self) -> None:
        super().__init__()
        self.finished: deque[Future[Any]] = deque()
        self.signal = Signal()

    def add_result(self, future: "Future[Any]") -> None:
        self._add(future)

    def add_exception(self, future: "Future[Any]") -> None:
        self._add(future)

    def add_cancelled(self, future: "Future[Any]") -> None:
        self._add(future)

    def _add(self, future: "Future[Any]") -> None:
        self.finished.append(future)
        self.signal.set()


class _CompletionWatch:
    """A watch over a set of futures, also of the standard library's, which gives each future once, as it ends."""

    def __init__(self, futures: "set[Future[Any]]") -> None:
        self._futures = futures
        self._waiter = _Waiter()
        self.done: list[Future[Any]] = []
        for future in futures:
            if isinstance(future, ScalerFuture):
                future.run_to_end()
            call_locked(_lock_of(future), self._enter, future)

    def _enter(self, future: "Future[Any]") -> None:
        """Add the waiter to a future, or the future to the ended ones; with the future's lock."""
        if future._state in ENDED:
            self.done.append(future)
        else:
            future._waiters.append(self._waiter)

    def next(self, deadline: float | None) -> "list[Future[Any]]":
        """Return the futures that have ended since the last call; wait for at least one.

        Parameters
        ----------
        deadline
            The time, in monotonic seconds, after which the list may be empty; None: wait for ever.
        """
        waiter = self._waiter
        if not waiter.finished:
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            with apply_policy_on_interrupt(lambda: self._futures):
                current_host().wait(waiter.signal, remaining)
        # A new signal before the deque is emptied: a future that ends meanwhile sets the new one.
        waiter.signal = Signal()
        ended = []
        while waiter.finished:
            ended.append(waiter.finished.popleft())
        return ended

    def pop(self, futures: "list[Future[Any]]") -> "Future[Any]":
        """Remove the last future of a list and stop watching it; return it, kept alive by the caller alone."""
        future = futures.pop()
        self._futures.discard(future)
        self._leave(future)
        return future

    def close(self) -> None:
        """Stop watching the futures."""
        for future in self._futures:
            self._leave(future)

    def _leave(self, future: "Future[Any]") -> None:
        call_locked(_lock_of(future), self._remove, future)

    def _remove(self, future: "Future[Any]") -> None:
        if self._waiter in future._waiters:
            future._waiters.remove(self._waiter)


def _lock_of(future: "Future[Any]") -> Any:
    """Return the lock of a future's condition (why: :mod:`scaler_notebook.client.waiting.locks`)."""
    if isinstance(future, ScalerFuture):  # which makes a condition when it is asked for one
        return future._lock
    condition = getattr(future, "_condition", None)
    if condition is None:
        raise TypeError(f"only futures are waited for here, not {with_article(type(future).__name__)}")
    return getattr(condition, "_lock", condition)


def as_completed(fs: Iterable[F], timeout: float | None = None) -> Iterator[F]:
    """Yield futures as they end, beginning with those that have ended already.

    Parameters
    ----------
    fs
        The futures, of any kind of :mod:`concurrent.futures`.
    timeout
        Seconds from the call on; None waits for ever.

    Raises
    ------
    TimeoutError
        Not all of the futures ended within ``timeout`` seconds of the call.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    futures = set(fs)
    total = len(futures)
    watch = _CompletionWatch(futures)  # type: ignore[arg-type]
    return _as_completed(watch, total, deadline)


def _as_completed(watch: _CompletionWatch, total: int, deadline: float | None) -> Iterator[Any]:
    """Yield futures as they end.

    Parameters
    ----------
    watch
        The watch over the futures.
    total
        How many futures there are.
    deadline
        In monotonic seconds, when to raise a TimeoutError; None: never.
    """
    try:
        left = total - len(watch.done)
        if watch.done:
            current_host().run_end_calls()
        watch.done.reverse()
        while watch.done:
            yield watch.pop(watch.done)
        while left:
            ended = watch.next(deadline)
            if not ended and deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{left} (of {total}) futures unfinished")
            left -= len(ended)
            ended.reverse()
            while ended:
                yield watch.pop(ended)
    finally:
        watch.close()


def wait(
    fs: Iterable["Future[Any]"], timeout: float | None = None, return_when: str = ALL_COMPLETED
) -> "DoneAndNotDoneFutures[Any]":
    """Wait for futures; return ``(done, not_done)``, two sets.

    Parameters
    ----------
    fs
        The futures, of any kind of :mod:`concurrent.futures`.
    timeout
        Seconds; None waits for ever.
    return_when
        ``ALL_COMPLETED``, ``FIRST_COMPLETED`` or ``FIRST_EXCEPTION`` of :mod:`concurrent.futures`.
    """
    check_return_when(return_when)
    deadline = None if timeout is None else time.monotonic() + timeout
    futures = set(fs)
    watch = _CompletionWatch(futures)
    try:
        done = set(watch.done)
        fresh = watch.done
        if done:
            current_host().run_end_calls()
        while len(done) < len(futures):
            if done and return_when == FIRST_COMPLETED:
                break
            if return_when == FIRST_EXCEPTION and any(_failed(future) for future in fresh):
                break
            fresh = watch.next(deadline)
            done.update(fresh)
            if not fresh and deadline is not None and time.monotonic() >= deadline:
                break
        return DoneAndNotDoneFutures(done, futures - done)
    finally:
        watch.close()


def check_return_when(return_when: str) -> None:
    """Raise a ValueError for a ``return_when`` that is none of the standard library's three."""
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
        raise ValueError(f"return_when is ALL_COMPLETED, FIRST_COMPLETED or FIRST_EXCEPTION, not {return_when!r}")


def _failed(future: "Future[Any]") -> bool:
    if isinstance(future, ScalerFuture):
        return future.failed
    return not future.cancelled() and future.exception() is not None


def results_in_order(
    submitted: "Iterable[ScalerFuture[T]]",
    timeout: float | None,
    more: "Callable[[], ScalerFuture[T] | None]" = lambda: None,
) -> Iterator[T]:
    """Yield results in the order of submission; cancel what is not read.

    An interrupt does not cancel: what becomes of the tasks then is their executor's policy.

    Parameters
    ----------
    submitted
        The futures.
    timeout
        Seconds from the call until the last result; None waits for ever.
    more
        Called whenever a result is about to be taken; submits another task and returns its future, or None.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    futures = deque(submitted)

    def results() -> Iterator[T]:
        __tracebackhide__ = True
        try:
            while futures:
                following = more()
                if following is not None:
                    futures.append(following)
                del following
                remaining = None if deadline is None else deadline - time.monotonic()
                future = futures.popleft()
                try:
                    value = future.result(remaining)
                except TimeoutError:
                    future.request_cancel_unfinished()
                    raise
                del future
                results = [value]
                del value
                yield results.pop()  # its reader alone keeps a result alive
        except KeyboardInterrupt:
            apply_interrupt_policy(futures)
            futures.clear()
            raise
        finally:
            for future in futures:
                future.request_cancel_unfinished()

    return results()
