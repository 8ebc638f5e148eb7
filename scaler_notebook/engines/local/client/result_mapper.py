"""Large results, mapped into the client so that they outlive the engine."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from scaler_notebook.engines.local.ipc.memory.shared_memory import BadSegment, map_segments
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.exceptions import failures
from scaler_notebook.protocol.messages import SegmentRef, TaskResult
from scaler_notebook.quantities import format_bytes

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

RETRY_DELAYS = (0.1, 0.2, 0.5, 1.0, 2.0)  # seconds between the tries to map a result for which there was no room


class ResultMapper:
    """Maps the segments of results into this process.

    Parameters
    ----------
    loop
        The agent's loop, on which a result is tried again for which there was no room.
    deliver
        Called with a result that was mapped, or has failed, at a later try.
    """

    def __init__(self, loop: "AbstractEventLoop", deliver: Callable[[TaskResult], None]) -> None:
        self._loop = loop
        self._deliver = deliver
        self._received: list[int] = []  # descriptors of the scheduler that may be closed
        self._is_closed = False

    def map(self, result: TaskResult, failed_tries: int = 0) -> TaskResult | None:
        """Map the segments of a result.

        Parameters
        ----------
        result
            As the scheduler has sent the result.
        failed_tries
            How often the mapping of this result has failed so far.

        Returns
        -------
        TaskResult or None
            The result with its buffers in this process, or a failure that says why it cannot be had. None if the
            result is tried again later.
        """
        segments = [b.descriptor for b in result.payload.buffers if isinstance(b, SegmentRef)]
        if not segments:
            return result
        try:
            mapped = replace(result, payload=map_segments(result.payload))
        except (OSError, MemoryError) as error:
            if not isinstance(error, BadSegment) and failed_tries < len(RETRY_DELAYS):
                # The loss of the scheduler, too, is noticed meanwhile.
                self._loop.call_later(RETRY_DELAYS[failed_tries], self._retry, result, failed_tries + 1)
                return None
            mapped = failures.internal_failure(result.task_id, _problem(result, error))
        self._received += segments
        return mapped

    def _retry(self, result: TaskResult, failed_tries: int) -> None:
        """Try once more to map a result, and deliver the result if that ends the tries."""
        if self._is_closed:
            return
        mapped = self.map(result, failed_tries)
        if mapped is not None:
            self._deliver(mapped)

    def take_received(self) -> tuple[int, ...]:
        """Return the descriptors that can be closed, as the scheduler has them, and forget them."""
        received, self._received = self._received, []
        return tuple(received)

    def close(self) -> None:
        """Deliver no further result."""
        self._is_closed = True


def _problem(result: TaskResult, error: OSError | MemoryError) -> Exception:
    """Return the error that says why a result cannot be had.

    Parameters
    ----------
    result
        As the scheduler has sent the result.
    error
        What mapping it has raised.
    """
    if isinstance(error, BadSegment):
        return ProtocolError(f"its result is none that could be taken over ({error.strerror}): a bug in the engine")
    if isinstance(error, FileNotFoundError | ProcessLookupError):
        return ProtocolError(f"its result is in no process ({error}): a bug in the engine")
    return _no_room(result, error)


def _no_room(result: TaskResult, error: BaseException) -> MemoryError:
    """Return the failure of a task whose result this process has no room for."""
    size = sum(buffer.size for buffer in result.payload.buffers if isinstance(buffer, SegmentRef))
    return MemoryError(
        f"the task has ended, and its result of {format_bytes(size)} could not be taken over by this process "
        f"({type(error).__name__}: {error}): its descriptors (ulimit -n), its address space (ulimit -v) or the memory "
        "are used up. Close files or let go of results, and submit it again; or have the task return less."
    )
