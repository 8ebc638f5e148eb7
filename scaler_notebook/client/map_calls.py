"""The calls of one ``map``: a task for each, or for a chunk of them, submitted at once or as results are taken."""

import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from scaler_notebook.protocol.messages import TaskOptions
from scaler_notebook.quantities import amount
from scaler_notebook.task.calls.chunk import ChunkCall

from .futures.completion import results_in_order
from .futures.future import ScalerFuture
from .submission.call_text import function_name, shorten

if TYPE_CHECKING:
    from .engine_client import EngineClient

T = TypeVar("T")


class MapCalls(Generic[T]):
    """The calls of one ``map`` that were not submitted yet.

    Parameters
    ----------
    client
        Submits the calls; not kept alive.
    fn
        What is called.
    items
        The positional arguments of each call.
    chunksize
        How many calls are one task.
    at_hand
        Are the items there, so that to read one takes no time?
    """

    def __init__(
        self,
        client: "EngineClient",
        fn: Callable[..., T],
        items: Iterator[tuple[Any, ...]],
        chunksize: int,
        at_hand: bool = False,
    ) -> None:
        self._client = weakref.ref(client)
        self._fn = fn
        self._chunk = ChunkCall(fn)
        self._items = items
        self._chunksize = chunksize
        self._at_hand = at_hand

    def submitted(self, most: int | None) -> "list[ScalerFuture[Any]]":
        """Submit tasks now, and return their futures.

        Parameters
        ----------
        most
            How many tasks; None for all.
        """
        futures: list[ScalerFuture[Any]] = []
        client = self._client()
        if client is not None and most is None and self._at_hand and not client._has_own_submit:
            calls = client._calls
            for burst in (
                calls.submit_bursts(self._fn, self._items)
                if self._chunksize == 1
                else calls.submit_bursts(self._chunk, self._chunks(), self._chunk_name)
            ):
                futures += burst
            return futures
        while (most is None or len(futures) < most) and (future := self._submit_next()) is not None:
            futures.append(future)
        return futures

    def results(self, submitted: "Iterable[ScalerFuture[Any]]", timeout: float | None) -> Iterator[T]:
        """Return an iterator of the results in order, which submits another task whenever a result is taken.

        Parameters
        ----------
        submitted
            The futures of the tasks that are there.
        timeout
            Seconds from the call until the last result; None waits for ever.
        """
        results = results_in_order(submitted, timeout, self._submit_next)
        return results if self._chunksize == 1 else _of_chunks(results)

    def _submit_next(self) -> "ScalerFuture[Any] | None":
        """Submit the next task; None if there is no more, or the client is gone."""
        client = self._client()
        if client is None:
            return None
        if self._chunksize == 1:
            item = next(self._items, None)
            return client.submit(self._fn, *item) if item is not None else None
        chunk = next(self._chunks(), None)
        if chunk is None:
            return None
        return client._calls.submit(self._chunk, chunk, {}, TaskOptions(self._chunk_name(chunk)))

    def _chunks(self) -> Iterator[tuple[list[tuple[Any, ...]]]]:
        """Yield the arguments of the chunks that were not submitted yet."""
        while items := list(itertools.islice(self._items, self._chunksize)):
            yield (items,)

    def _chunk_name(self, chunk: tuple[Any, ...]) -> str:
        """Return how a chunk reads for a person."""
        return shorten(f"{function_name(self._fn)} × {amount(len(chunk[0]))}")


def _of_chunks(chunks: "Iterator[list[T]]") -> Iterator[T]:
    """Yield the results of chunks one by one; the reader alone keeps each alive."""
    __tracebackhide__ = True
    for results in chunks:
        results.reverse()
        while results:
            yield results.pop()
