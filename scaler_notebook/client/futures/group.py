"""``FutureGroup``: futures that belong together, cancelled together."""

from collections import Counter
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, TimeoutError
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload

from scaler_notebook.client import names
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.permission import may_wait
from scaler_notebook.protocol.states import TaskState

from . import completion
from .conditions import is_answered, wait_or_cancel_async, wait_until, wait_until_async
from .future import CANCEL_TIMEOUT, ScalerFuture

T = TypeVar("T")


class GroupProgress(NamedTuple):
    """How far a group is: ``done`` of ``total`` tasks; a running task counts as the part that it reports."""

    done: float
    total: int

    @property
    def fraction(self) -> float:
        """The part that is done, from 0 to 1; 1 for no tasks at all."""
        return self.done / self.total if self.total else 1.0


class FutureGroup(Sequence[ScalerFuture[T]], Generic[T]):
    """A sequence of futures: one board, one wait, one cancel. A group can be awaited, which gives the list of results.

    ``map_async`` gives one; ``FutureGroup([first, second], name="both")`` makes one of any futures.

    Parameters
    ----------
    futures
        The futures that belong together.
    name
        What a person reads, e.g. ``fit × 100``.
    edges
        Pairs of positions in the group: the second future needs the value of the first.

    Raises
    ------
    TypeError
        One of ``futures`` is something else.
    """

    def __init__(
        self, futures: Iterable[ScalerFuture[T]], name: str = "", edges: Iterable[tuple[int, int]] = ()
    ) -> None:
        self._futures = tuple(futures)
        for each in self._futures:
            if not isinstance(each, ScalerFuture):
                raise TypeError(f"a FutureGroup has futures of an executor's submit, not {each!r:.60}")
        self.name = name
        self.edges = tuple(edges)

    if not TYPE_CHECKING:  # as in EngineClient

        def __getattr__(self, name: str) -> Any:
            """Raise an AttributeError, which says what other libraries' methods are called here."""
            __tracebackhide__ = True
            names.raise_missing(self, name, names.OF_GROUPS)

    @overload
    def __getitem__(self, index: int) -> ScalerFuture[T]: ...
    @overload
    def __getitem__(self, index: slice) -> "FutureGroup[T]": ...
    def __getitem__(self, index: int | slice) -> "ScalerFuture[T] | FutureGroup[T]":
        return FutureGroup(self._futures[index], self.name) if isinstance(index, slice) else self._futures[index]

    def __len__(self) -> int:
        return len(self._futures)

    def __iter__(self) -> Iterator[ScalerFuture[T]]:
        return iter(self._futures)

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {state.value}" for state, n in self.counts().items())
        return f"<FutureGroup {self.name or f'of {len(self)}'}: {counts or 'empty'}>"

    # ------------------------------------------------------------------ queries: never block

    def counts(self) -> "Counter[TaskState]":
        """Return how many futures are in which state."""
        return Counter(future.state for future in self._futures)

    @property
    def progress(self) -> GroupProgress:
        """How far all tasks are together: each counts 1, and one that runs counts as its own progress."""
        return GroupProgress(sum(map(_done_part, self._futures)), len(self._futures))

    def done(self) -> bool:
        """Return whether all futures have ended."""
        return all(future.done() for future in self._futures)

    def unfinished(self) -> "FutureGroup[T]":
        """Return the futures that have not ended."""
        return FutureGroup((future for future in self._futures if not future.done()), self.name)

    def failed(self) -> "FutureGroup[T]":
        """Return the futures that have finished with an exception."""
        return FutureGroup((future for future in self._futures if future.failed), self.name)

    # ------------------------------------------------------------------ results

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all futures have ended; return False if they have not in time.

        Parameters
        ----------
        timeout
            Seconds; None waits for ever.
        """
        return wait_until(self._futures, ObservedTask.done, timeout)

    async def wait_async(self, timeout: float | None = None) -> bool:
        """Do as :meth:`wait`, in a coroutine.

        Parameters
        ----------
        timeout
            Seconds; None waits for ever.
        """
        return await wait_until_async(self._futures, ObservedTask.done, timeout)

    def as_completed(self, timeout: float | None = None) -> Iterator[ScalerFuture[T]]:
        """Yield the futures as they end; TimeoutError if that takes more than ``timeout`` seconds in all."""
        return completion.as_completed(self._futures, timeout)

    async def __aiter__(self) -> AsyncIterator[ScalerFuture[T]]:
        """Yield each future as it ends, for ``async for``. Leaving the loop leaves the others alone."""
        left = set(self._futures)
        while left:
            await wait_until_async(left, ObservedTask.done, enough=ObservedTask.done)
            for future in [future for future in self._futures if future in left and future.done()]:
                left.remove(future)
                yield future

    def results(self, timeout: float | None = None, return_exceptions: bool = False) -> list[T]:
        """Return the values, in order; wait for all of them, or for the first failure. The others run on then.

        Parameters
        ----------
        timeout
            Seconds; None waits for ever.
        return_exceptions
            Wait for all of them in any case, and have the exception in the place of a value that there is none of, as
            ``asyncio.gather`` does.

        Raises
        ------
        TimeoutError
            Not all of the futures ended within ``timeout`` seconds.
        TaskCancelledError
            One was cancelled.
        Exception
            What the first failed one raised.
        """
        __tracebackhide__ = True  # as in ScalerFuture.result
        if return_exceptions:
            errors: list[Any] = self.exceptions(timeout)
            return [f.result(0) if error is None else error for f, error in zip(self, errors, strict=True)]
        wait_until(self._futures, ObservedTask.done, timeout, enough=_failed)
        if not self.done() and not any(map(_failed, self._futures)):
            raise TimeoutError(f"{len(self.unfinished())} (of {len(self)}) futures unfinished after {timeout} s")
        return self._values()

    def exceptions(self, timeout: float | None = None) -> list[BaseException | None]:
        """Return what each task raised, in order: None for a value, a :class:`TaskCancelledError` for a cancelled task.

        Waits for all of them, also after a failure.

        Parameters
        ----------
        timeout
            Seconds; None waits for ever.

        Raises
        ------
        TimeoutError
            Not all of the futures ended within ``timeout`` seconds.
        """
        if not wait_until(self._futures, ObservedTask.done, timeout):
            raise TimeoutError(f"{len(self.unfinished())} (of {len(self)}) futures unfinished after {timeout} s")
        return [_exception(future) for future in self._futures]

    def _values(self) -> list[T]:
        """Return the values of futures that have ended; raise what the first failed one raised."""
        __tracebackhide__ = True
        for future in filter(_failed, self._futures):
            future.result(0)  # raises
        return [future.result(0) for future in self._futures]

    def __await__(self) -> Generator[Any, None, list[T]]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> list[T]:
        """Wait in a coroutine, and return the values; cancel the tasks if the coroutine is cancelled."""
        __tracebackhide__ = True
        await wait_or_cancel_async(self._futures, self.request_cancel, enough=_failed)
        return self._values()

    def retry(self, futures: Iterable[ScalerFuture[T]] | None = None) -> "FutureGroup[T]":
        """Submit some of the calls again; return the new futures, which take the places of the old ones in this group.

        Raises what :meth:`ScalerFuture.retry` raises; those before the one that cannot be retried are submitted.

        Parameters
        ----------
        futures
            Those whose calls are submitted again; by default the failed ones.
        """
        new: dict[ScalerFuture[T], ScalerFuture[T]] = {}
        try:
            for future in self.failed() if futures is None else futures:
                new[future] = future.retry()
        finally:
            self._futures = tuple(new.get(future, future) for future in self._futures)
        return FutureGroup(new.values(), self.name)

    # ------------------------------------------------------------------ widgets

    def widget(self) -> Any:
        """Return a live board of the futures, for use inside ipywidgets layouts; it lives until its ``close()``.

        Raises
        ------
        RuntimeError
            This is no Jupyter kernel.
        """
        return current_host().widget(self)

    def _display_(self) -> Any:
        """Return what marimo displays."""
        return self.widget()

    # ------------------------------------------------------------------ cancel

    def request_cancel(self, force: bool = True, grace: float | None = None) -> None:
        """Ask for the end of the tasks that have not ended, and return at once; results are kept.

        Parameters
        ----------
        force, grace
            As for :meth:`ScalerFuture.request_cancel`.
        """
        # Running tasks are asked last: no queued task gets a slot before its own request has arrived.
        for future in sorted(self._futures, key=lambda future: future.state is TaskState.RUNNING):
            future.request_cancel_unfinished(force, grace)

    def cancel(self, timeout: float | None = CANCEL_TIMEOUT, force: bool = True, grace: float | None = None) -> bool:
        """Cancel the tasks that have not ended: every request first, then one wait for all the answers.

        Returns whether all have ended. Where waiting would block a loop or a widget's callback, ``cancel`` asks and
        returns at once.

        Parameters
        ----------
        timeout
            Seconds to wait for the answers; None waits for ever.
        force, grace
            As for :meth:`ScalerFuture.request_cancel`.
        """
        self.request_cancel(force, grace)
        if may_wait():
            wait_until(self._futures, is_answered, timeout)
        return self.done()

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
        await wait_until_async(self._futures, is_answered, timeout)
        return self.done()


def _done_part(future: ScalerFuture[Any]) -> float:
    """Return the part of a task that is done, from 0 to 1."""
    if future.done():
        return 1.0
    said = future.progress
    return min(1.0, max(0.0, said.done / said.total)) if said is not None and said.total > 0 else 0.0


def _exception(future: ScalerFuture[Any]) -> BaseException | None:
    """Return what the task of a future that is done has raised, None for a value."""
    try:
        return future.exception(0)
    except CancelledError as cancelled:
        return cancelled


def _failed(future: ObservedTask) -> bool:
    return future.failed
