"""Several calls of one function as one task: a chunk of a ``map``."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from scaler_notebook.task.progress import progress

from .coroutines import completed

T = TypeVar("T")

BRIEF = 0.005  # seconds in which a chunk reports no progress: its process would wait until somebody has read that


class ChunkCall(Generic[T]):
    """The function of a chunk: calls another function once for each item, in order.

    The calls are one task: what one of them changes in the process, the next one meets. An exception of one call ends
    the chunk, without the results of the calls before, as in the standard library's ``ProcessPoolExecutor.map``.

    Parameters
    ----------
    func
        The function that is called for each item.
    """

    def __init__(self, func: Callable[..., T]) -> None:
        self.func = func

    def __call__(self, items: Sequence[tuple[Any, ...]]) -> list[T]:
        """Return the results of the calls.

        Parameters
        ----------
        items
            The positional arguments of each call.
        """
        function, bar = self.func, progress[Any](total=len(items))
        results: list[T] = []
        begun = time.monotonic()
        for item in items:
            results.append(completed(function(*item)))
            if time.monotonic() - begun > BRIEF:
                bar.update(len(results) - bar.done)
        return results
