"""Tasks that submit tasks, and wait for them: slots that are lent, and processes that are needed meanwhile.

A task that waits for tasks of its own says so, and lends them its slot. One that waits in another way (on a lock that a
callback releases, with the standard library's ``wait``) does not say so: when nothing moves any more, and every task
that runs has submitted others, the deepest of them is taken to wait.
"""

from collections.abc import Callable

from scaler_notebook.engines.scheduling.timers import Clock

from .effects import Effects
from .records import TaskRecord
from .state import SchedulerState, TimerKey

MOST_LENT = 256  # tasks that wait for tasks of theirs, each in a process that can do nothing else meanwhile
SURPLUS_KEPT = 2.0  # seconds that processes which nested tasks needed are kept for the next ones
STANDSTILL = 0.5  # seconds without a move after which a task is taken to wait that has not said so
DEEPEST_FIRST = 1 << 40  # more than the tasks of one client; what others wait for comes before what nobody waits for

SURPLUS_OVER: TimerKey = "surplus", 0
STANDSTILL_OVER: TimerKey = "standstill", 0


class SlotLending:
    """The slots that waiting tasks lend to the tasks that they wait for.

    Parameters
    ----------
    state
        What the core knows.
    effects
        How processes are added and killed.
    clock
        By which surplus processes and standstills are timed.
    break_standstill
        Called when nothing has moved for :data:`STANDSTILL` seconds.
    """

    def __init__(
        self, state: SchedulerState, effects: Effects, clock: Clock, break_standstill: Callable[[], None]
    ) -> None:
        self._state = state
        self._effects = effects
        self._clock = clock
        self._break_standstill = break_standstill
        self._extra = 0  # processes beyond slots and spares that were asked for

    def nest(self, record: TaskRecord, parent: TaskRecord | None) -> None:
        """Note that a running task has submitted ``record``, for which it will most likely wait."""
        if parent is None or parent.task.task_id != record.task.parent:
            return
        record.parent, record.root, record.depth = parent, parent.root, parent.depth + 1
        record.priority = max(record.priority, parent.priority)
        record.number -= record.depth * DEEPEST_FIRST
        parent.children[record.task.task_id] = record

    def lend(self, record: TaskRecord) -> bool:
        """Give the slot of a task that waits to others; False if too many tasks wait already."""
        if len(self._state.lent) >= MOST_LENT:
            return False
        self._state.lent.add(record.process)
        if record.needs:
            self._state.resources.give_back(record.needs)
        return True

    def take_back(self, record: TaskRecord) -> None:
        """Give a task that waits no more its slot again; for a while one task more than there are slots may run."""
        self._state.lent.discard(record.process)
        if record.needs:
            self._state.resources.take(record.needs)

    def adjust_processes(self) -> int:
        """Have the processes that lent slots need; gives how many slots are lent."""
        lent = len(self._state.lent)
        if lent != self._extra:
            if lent < self._extra:
                self._state.timers.set(SURPLUS_OVER, self._clock.monotonic() + SURPLUS_KEPT, self._end_surplus)
            self._extra = lent
            self._effects.add_processes(lent)
        return lent

    def _end_surplus(self) -> None:
        workers = self._state.workers
        for process in workers.idle[: self._effects.surplus()]:
            workers.hold_back(process)
            self._effects.kill(process)

    # ------------------------------------------------------------------ tasks that wait and do not say so

    def watch_for_standstill(self) -> None:
        """Begin or end the wait for a move, after everything that can move has moved."""
        timers = self._state.timers
        if not self._state.workers.held or not self._suspects():
            timers.cancel(STANDSTILL_OVER)
        elif STANDSTILL_OVER not in timers:
            timers.set(STANDSTILL_OVER, self._clock.monotonic() + STANDSTILL, self._break_standstill)

    def deepest_suspect(self) -> TaskRecord | None:
        """Give the task that most likely waits for others without a word; None if something can move."""
        return max(self._suspects(), key=lambda record: record.depth, default=None)

    def _suspects(self) -> list[TaskRecord]:
        """Give what runs, if all of it has submitted tasks and some task waits for a slot; nothing otherwise."""
        if not self._state.queue:
            return []
        suspects = []
        for process, record in self._state.workers.held.items():
            if process not in self._state.lent:
                if not record.children:
                    return []
                suspects.append(record)
        return suspects
