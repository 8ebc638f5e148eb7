"""Tasks that submit tasks, and wait for them: slots that are lent, and processes that are needed meanwhile.

A task that waits for tasks of its own says so, and lends them its slot. One that waits in another way (on a lock that a
callback releases, with the standard library's ``wait``) does not say so: when nothing moves any more, and every task
that runs has submitted others, the deepest of them is taken to wait.
"""

from scaler_notebook.protocol import failures

from .records import Record
from .states import Event, Stage
from .transitions import Handling

MOST_LENT = 256  # tasks that wait for tasks of theirs, each in a process that can do nothing else meanwhile
SURPLUS_KEPT = 2.0  # seconds that processes which nested tasks needed are kept for the next ones
STANDSTILL = 0.5  # seconds without a move after which a task is taken to wait that has not said so
DEEPEST_FIRST = 1 << 40  # more than the tasks of one client; what others wait for comes before what nobody waits for


class Nesting(Handling):
    """What is special about tasks within tasks."""

    def _nest(self, record: Record, parent: Record | None) -> None:
        """It is submitted by a task that runs, which will most likely wait for it."""
        if parent is None or parent.task.task_id != record.task.parent:
            return
        record.parent, record.root, record.depth = parent, parent.root, parent.depth + 1
        record.priority = max(record.priority, parent.priority)
        record.number -= record.depth * DEEPEST_FIRST
        parent.children[record.task.task_id] = record

    def _note_wait(self, process: int, task_id: str, waits: bool) -> None:
        record = self._held.get(process)
        if record is None or record.task.task_id != task_id or (process in self._lent) == waits:
            return
        if waits:
            self._lend_slot_of(record)
        else:
            self._lent.discard(process)
            if record.needs:
                self._queue.take(record)

    def _lend_slot_of(self, record: Record) -> None:
        if len(self._lent) >= MOST_LENT:
            self._refuse_children(record)
            return
        self._lent.add(record.process)
        if record.needs:
            self._queue.give_back(record)

    def _refuse_children(self, record: Record) -> None:
        """There is no process for them: an error that says so, where they would wait for ever."""
        problem = RecursionError(
            f"{MOST_LENT} tasks wait for tasks that they have submitted, each in a process of its own, and there are "
            "no more: nest less deeply, or submit the inner calls as a graph"
        )
        idle = Stage.WAITING, Stage.QUEUED, Stage.BACKING_OFF
        for child in list(record.children.values()):
            if child.stage in idle:  # and no dependant of one before
                failed = failures.internal_failure(child.task.task_id, problem)
                self._handle(child, Event.TOO_DEEP, result=failed)
                self._fail_dependants(child, Event.INPUT_FAILED, failed)

    def _lend(self, now: float) -> int:
        """Have the processes that lent slots need; gives how many slots are lent."""
        lent = len(self._lent)
        if lent != self._more:
            if lent < self._more:
                self._surplus_until = now + SURPLUS_KEPT
            self._more = lent
            self._hands.lend(lent)
        return lent

    def _end_surplus(self) -> None:
        self._surplus_until = None
        for process in self._idle[: self._hands.surplus()]:
            self._idle.remove(process)
            self._hands.kill(process)

    # ------------------------------------------------------------------ tasks that wait and do not say so

    def _suspects(self) -> list[Record]:
        """What runs, if all of it has submitted tasks and some task waits for a slot; nothing otherwise."""
        if not self._queue:
            return []
        suspects = []
        for process, record in self._held.items():
            if process not in self._lent:
                if not record.children:
                    return []
                suspects.append(record)
        return suspects

    def _watch_for_standstill(self, now: float) -> None:
        """After everything that can move has moved."""
        if self._held and self._suspects():
            if self._standstill_until is None:
                self._standstill_until = now + STANDSTILL
        else:
            self._standstill_until = None

    def _break_standstill(self, now: float) -> None:
        self._standstill_until = None
        suspects = self._suspects()
        if suspects:
            self._lend_slot_of(max(suspects, key=lambda record: record.depth))

    def _nested_deadline(self) -> float | None:
        return min(filter(None, (self._surplus_until, self._standstill_until)), default=None)
