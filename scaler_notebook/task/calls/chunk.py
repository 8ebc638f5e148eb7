"""Several calls of one function as one task: a chunk of a ``map``."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from scaler_notebook.task.progress import progress

from .coroutines import completed

T = TypeVar("T")


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
        function = self.func
        return [completed(function(*item)) for item in progress(items)]
