"""The history of a session: what its tasks were and how they ended, also those whose futures nobody holds any more.

Bounded: the oldest records go, and before that their output.
"""

import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.client.task_state.trace import Trace
from scaler_notebook.protocol.frozen import frozen
from scaler_notebook.protocol.states import CancelReason, TaskState

from . import live_futures

MAX_RECORDS = 20_000
MAX_OUTPUT = 20_000  # characters that are kept of a task whose future is gone
MAX_ALL_OUTPUT = 20_000_000  # characters of all of them


LOST = Trace("", 0.0, ())  # of a task that never reached an engine


@frozen
class RecordSnapshot:
    """A task at one moment. Times are in seconds since the epoch."""

    state: TaskState
    reason: CancelReason | None
    started_at: float | None
    ended_at: float | None
    error: str | None  # the last line of its traceback
    output: str  # the end of what it wrote
    trace: Trace


class HistoryRecord:
    """The record of one task of the session.

    Parameters
    ----------
    future
        The task's future. Not held: when nobody else does, what it was at its end stays in the record.
    grew
        Called with the number of characters by which the retained output has grown.
    """

    __slots__ = ("__weakref__", "_end", "_future", "_grew", "call", "submitted_at", "task_id")

    def __init__(self, future: ScalerFuture[Any], grew: Callable[[int], None]) -> None:
        self.task_id = future.task_id
        self.call = future.call
        self.submitted_at = future.submitted_at
        self._future = weakref.ref(future)
        self._end: RecordSnapshot | None = None
        self._grew = grew

    def future(self) -> ScalerFuture[Any] | None:
        """Return the task's future, if somebody holds it."""
        return self._future()

    @property
    def name(self) -> str:
        """The name of what was called: the call without its arguments."""
        return self.call.partition("(")[0].strip() or self.call

    def now(self) -> RecordSnapshot:
        """Return the state of the task now, or at its end."""
        future = self._future()
        if future is not None:
            return _snapshot(future)
        return self._end or RecordSnapshot(
            TaskState.SUBMITTED, None, None, None, "it never reached an engine", "", LOST
        )

    @property
    def is_over(self) -> bool:
        """Whether the task has ended."""
        return self._end is not None

    @property
    def words(self) -> str:
        """The state as a person reads it, e.g. ``cancelled: stopped``."""
        now = self.now()
        if now.state is TaskState.SUBMITTED:
            return "queued"
        if now.state is TaskState.FINISHED:
            return "failed" if now.error is not None else "done"
        return f"{now.state.value}: {now.reason.value}" if now.reason is not None else now.state.value

    @property
    def seconds(self) -> float:
        """How long the task ran, or has been running; how long it waited, if it never started."""
        now = self.now()
        end = now.ended_at if now.ended_at is not None else time.time()
        return max(0.0, end - (now.started_at or self.submitted_at))

    def drop_output(self) -> int:
        """Forget the task's output; return how many characters it had."""
        end = self._end
        if end is None:
            return 0
        self._end = RecordSnapshot(end.state, end.reason, end.started_at, end.ended_at, end.error, "", end.trace)
        return len(end.output)

    def look(self, future: ObservedTask) -> None:
        """Record the end of the task; called after each change."""
        if future.done():
            before = len(self._end.output) if self._end is not None else 0
            self._end = _snapshot(future)
            self._grew(len(self._end.output) - before)


def record_form(record: HistoryRecord) -> dict[str, Any]:
    """Return the form in JSON of a task.

    ``state`` is ``queued``, ``running``, ``cancelling``, ``done``, ``failed`` or ``cancelled``; ``reason`` says why a
    task is cancelled, and ``error`` is the last line of a failure's traceback.
    """
    now = record.now()
    return {
        "id": record.task_id,
        "call": record.call,
        "state": record.words.partition(":")[0],
        "reason": now.reason.value if now.reason is not None else None,
        "error": now.error,
        "submitted_at": record.submitted_at,
        "started_at": now.started_at,
        "ended_at": now.ended_at,
    }


class History:
    """The records of a session, the oldest first. Implements :class:`~.live_futures.Subscriber`."""

    def __init__(self) -> None:
        self._records: dict[str, HistoryRecord] = {}
        self._is_kept = False  # whether new tasks are recorded
        self._kept = 0  # characters of output that all records retain

    def __iter__(self) -> Iterator[HistoryRecord]:
        """Iterate over the records, without those whose submit has failed before an engine had the task.

        Tasks that were submitted a moment ago, and have not reached the agent, are among them.
        """
        for future in live_futures.on_their_way() if self._is_kept else ():
            self.add(future)
        return iter([r for r in list(self._records.values()) if r.is_over or r.future() is not None])

    def __len__(self) -> int:
        return len(self._records)

    def begin(self) -> None:
        """Keep records from now on, also of the tasks that live now."""
        for future in live_futures.living():
            if future.task_id not in self._records:
                self.add(future)
        live_futures.unsubscribe(self)
        live_futures.subscribe(self)
        self._is_kept = True

    def end(self) -> None:
        """Forget all records, and keep no more."""
        live_futures.unsubscribe(self)
        self._is_kept = False
        self._records.clear()
        self._kept = 0

    def add(self, future: ScalerFuture[Any]) -> None:
        """Keep a record of a future, unless there is one; drop old records if there are too many."""
        record = HistoryRecord(future, self._grew)
        if self._records.setdefault(future.task_id, record) is not record:
            return
        future.watch(record.look)
        record.look(future)
        while len(self._records) > MAX_RECORDS:
            oldest = next((r for r in self._records.values() if r.is_over), None)
            if oldest is None:
                break
            self._kept -= oldest.drop_output()
            del self._records[oldest.task_id]

    def _grew(self, characters: int) -> None:
        """Count the retained characters; drop the output of old records if there are too many."""
        self._kept += characters
        if self._kept > MAX_ALL_OUTPUT:
            for record in self:
                self._kept -= record.drop_output()
                if self._kept <= MAX_ALL_OUTPUT / 2:
                    break


def _snapshot(future: ObservedTask) -> RecordSnapshot:
    """Return the state of a task now."""
    failure = future.failure
    return RecordSnapshot(
        future.state,
        future.cancel_reason,
        future.started_at,
        future.ended_at,
        failure.headline if failure is not None else None,
        future.last_output(MAX_OUTPUT)[0],
        future.trace(),
    )


session = History()
