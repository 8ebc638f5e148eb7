"""What a case asks of an executor. Each peer has two workers, and otherwise its own defaults."""

from __future__ import annotations

import abc
import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from .outcome import Cannot

WORKERS = 2
LOOK = 0.0005  # seconds between two looks at a future


class Peer(abc.ABC):
    """One executor. What a peer has no way to do raises :class:`~.outcome.Cannot`."""

    name: ClassVar[str]
    title: ClassVar[str]  # the head of its column
    module: ClassVar[str]  # what is imported if it is installed
    distributions: ClassVar[tuple[str, ...]] = ()  # whose versions are written with the figures
    cases: ClassVar[frozenset[str] | None] = None  # None: all of them
    map_note: ClassVar[str] = ""

    @abc.abstractmethod
    def start(self) -> None:
        """Make the executor ready to take a task; its workers need not be there."""

    @abc.abstractmethod
    def stop(self) -> None:
        """End it."""

    @abc.abstractmethod
    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """Submit a call; gives the peer's own future."""

    @abc.abstractmethod
    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> Sequence[Any]:
        """Call a function for each item by the peer's own map, with its defaults."""

    def map_in_chunks(self, function: Callable[..., Any], items: Iterable[Any], size: int) -> Sequence[Any]:
        """Call a function for each item, several at a time.

        Parameters
        ----------
        function
            What is called.
        items
            The argument of each call.
        size
            How many calls are sent together.
        """
        raise Cannot("its map has no chunks")

    def result(self, future: Any, timeout: float | None = None) -> Any:
        """Wait for a result; the builtin TimeoutError after so many seconds.

        Parameters
        ----------
        future
            Of :meth:`submit`.
        timeout
            Seconds; None: as long as it takes.
        """
        try:
            return future.result(timeout=timeout)
        except (concurrent.futures.TimeoutError, asyncio.TimeoutError) as error:  # other classes on Python 3.10
            raise TimeoutError from error

    def gather(self, futures: Sequence[Any]) -> Sequence[Any]:
        """Wait for many results in the peer's own way."""
        return [self.result(future) for future in futures]

    def joblib_backend(self) -> Any:
        """Return what ``joblib.parallel_config`` takes, so that calls of joblib's ``Parallel`` run on this executor."""
        raise Cannot("joblib has no backend for it")

    def put(self, value: Any) -> Any:
        """Send a value once; what is given stands for it in the arguments of many calls."""
        raise Cannot("it has no way to send a value ahead of the calls")

    def cancel(self, future: Any) -> None:
        """Cancel a task that runs."""
        future.cancel()

    def cancel_many(self, futures: Sequence[Any]) -> None:
        """Cancel tasks that are queued, in the peer's own way."""
        for future in futures:
            future.cancel()

    def end_of_cancel(self, future: Any, timeout: float) -> str:
        """Wait for a future's end; gives ``"cancelled"``, ``"finished"``, ``"timeout"`` or an exception's name.

        Parameters
        ----------
        future
            What was cancelled.
        timeout
            Seconds.
        """
        end = time.monotonic() + timeout
        while not future.done():
            if time.monotonic() > end:
                return "timeout"
            time.sleep(LOOK)
        if future.cancelled():
            return "cancelled"
        error = future.exception()
        return "finished" if error is None else type(error).__name__

    def free_slot_otherwise(self, process: int) -> str:
        """Free the slot of a task that cannot be cancelled, by its process id; gives in words what was done."""
        raise Cannot("there is no other way")

    def recover(self) -> str:
        """After the death of a worker: make the peer usable again; gives in words what was done."""
        return ""
