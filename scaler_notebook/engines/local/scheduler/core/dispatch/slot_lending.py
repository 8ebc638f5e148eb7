"""Slot lending: a task that waits for tasks which it has submitted lends them its slot.

As a rule the client in the task tells the scheduler that the task waits. A task that waits in another way (on a lock
that a callback releases, or with the standard library's ``wait``) is found at a standstill: if nothing moves any more,
and every running task has submitted others, the most deeply nested one is taken to wait.

A task that waits for the reader of its items lends its slot, too, for the reader may be waiting for queued tasks. As
many such tasks as there are slots do so at once. The others may be streams that are read later, and each lent slot
costs a process: of them one does so whenever no reader has gone on for a while.

A task that was prefetched, and taken back, may be overtaken: a later one has begun in another process. If all running
tasks wait, they may wait for the overtaken one, which would have begun before them if nothing were prefetched: it is
lent the slot of a task that has overtaken it.
"""

from scaler_notebook.engines.local.scheduler.core import events
from scaler_notebook.engines.local.scheduler.core.effects import Effects
from scaler_notebook.engines.local.scheduler.core.state.records import TaskRecord
from scaler_notebook.engines.local.scheduler.core.state.scheduler_state import SchedulerState, TimerKey
from scaler_notebook.engines.local.scheduler.core.states import TaskStage
from scaler_notebook.engines.local.scheduler.core.transitions import Transitions, start_due
from scaler_notebook.engines.scheduling.timers import Clock
from scaler_notebook.protocol.exceptions import failures

MAX_LENT = 256  # slots; each lent slot takes a process that can do nothing else meanwhile
SURPLUS_RETAINED = 2.0  # seconds that extra processes are retained for the next nested tasks
STANDSTILL = 0.5  # seconds without a move that are a standstill
READERS_PATIENCE = 5.0  # the same, where running tasks wait for their readers: those may take longer
BUSY = 0.05  # seconds of CPU in a standstill; a task that uses as much of them does not wait
DEEPEST_FIRST = 1 << 40  # more than any task's number, so that nested tasks come before all others of their priority

NOT_STARTED = TaskStage.WAITING, TaskStage.QUEUED, TaskStage.BACKING_OFF

SURPLUS_OVER: TimerKey = "surplus", 0
STANDSTILL_OVER: TimerKey = "standstill", 0


class SlotLending:
    """The slots that waiting tasks lend to the tasks that they wait for.

    Parameters
    ----------
    state
        The core's state; changed here.
    effects
        Adds and kills processes, and knows what they use of the CPU.
    clock
        The source of the time.
    transitions
        Handles the events of tasks.
    """

    def __init__(self, state: SchedulerState, effects: Effects, clock: Clock, transitions: Transitions) -> None:
        self._state = state
        self._effects = effects
        self._clock = clock
        self._transitions = transitions
        self._extra = 0  # processes beyond slots and spares that were asked for
        self._used_cpu: dict[int, float] = {}  # by process that had overtaken a task when a standstill was suspected

    def nest(self, record: TaskRecord, parent: TaskRecord | None) -> None:
        """Make a task the child of the running task that has submitted it.

        Parameters
        ----------
        record
            The new task.
        parent
            The task of the process that the client is in; None if there is none. Nothing happens if that is not the one
            that the new task names.
        """
        if parent is None or parent.task.task_id != record.task.parent:
            return
        record.parent, record.root, record.depth = parent, parent.root, parent.depth + 1
        record.priority = max(record.priority, parent.priority)
        record.number -= record.depth * DEEPEST_FIRST
        parent.children[record.task.task_id] = record

    def lend(self, record: TaskRecord) -> bool:
        """Lend the slot and the resources of a task that waits; False if too many slots are lent already."""
        if len(self._state.lent) >= MAX_LENT:
            return False
        self._state.lent.add(record.process)
        if record.needs:
            self._state.resources.give_back(record)
        return True

    def lend_to_children(self, record: TaskRecord) -> None:
        """Lend the slot of a task that waits for others; if too many are lent, fail those that the task waits for."""
        if self.lend(record):
            return
        # Without a process for what the task has submitted, the task would wait for ever.
        problem = RecursionError(
            f"{MAX_LENT} tasks wait for tasks that they have submitted, each in a process of its own, and there are "
            "no more: nest less deeply, or submit the inner calls as a graph"
        )
        for child in list(record.children.values()):
            if child.stage in NOT_STARTED:  # it may have ended meanwhile, as a dependant of another child
                failure = failures.internal_failure(child.task.task_id, problem)
                self._transitions.handle(child, events.NestedTooDeeply(failure))
                self._transitions.fail_dependants(child, failure)

    def lend_to_reader(self, record: TaskRecord) -> None:
        """Lend the slot of a task that waits for the reader of its items, unless as many do so as there are slots."""
        workers = self._state.workers
        waiting = sum(workers.held[process].paused for process in self._state.lent if process in workers.held)
        if record.process not in self._state.lent and waiting < self._state.slots:
            self.lend(record)

    def take_back(self, record: TaskRecord) -> None:
        """End the loan of a task's slot, even if the slot is in use: then one task more than there are slots runs."""
        self._state.lent.discard(record.process)
        if record.needs:
            self._state.resources.take(record)

    def adjust_processes(self) -> int:
        """Add a process for each slot that is lent, and return how many slots are lent."""
        lent = len(self._state.lent)
        if lent != self._extra:
            if lent < self._extra:
                self._state.timers.set(SURPLUS_OVER, self._clock.monotonic() + SURPLUS_RETAINED, self._end_surplus)
            self._extra = lent
            self._effects.add_processes(lent)
        return lent

    def _end_surplus(self) -> None:
        """Kill idle processes that are more than needed."""
        workers = self._state.workers
        for process in workers.idle[: self._effects.surplus()]:
            workers.reserve(process)
            self._effects.kill(process)

    # ------------------------------------------------------------------ standstills

    def watch_for_standstill(self) -> None:
        """Set or cancel the timer of a standstill; to be called when all tasks are dispatched that can be."""
        timers = self._state.timers
        suspects = self._suspects()
        overtakers = [] if suspects else self._overtakers()
        if not suspects and not overtakers:
            timers.cancel(STANDSTILL_OVER)
        elif STANDSTILL_OVER not in timers:
            patience = READERS_PATIENCE if any(record.paused for record in suspects) else STANDSTILL
            timers.set(STANDSTILL_OVER, self._clock.monotonic() + patience, self._break_standstill)
            self._used_cpu = {record.process: self._effects.cpu_seconds(record.process) for record in overtakers}

    def _break_standstill(self) -> None:
        """Lend the slot of the running task that is nested most deeply: most likely it waits without saying so.

        Else lend that of one that has overtaken the next task, if all those wait.
        """
        suspect = max(self._suspects(), key=lambda record: record.depth, default=None)
        if suspect is not None:
            self.lend_to_children(suspect)
        elif (overtakers := self._overtakers()) and all(map(self._waits, overtakers)):
            self.lend(overtakers[-1])

    def _waits(self, record: TaskRecord) -> bool:
        """Return whether a task has used next to no CPU since a standstill was suspected."""
        before = self._used_cpu.get(record.process)
        return before is not None and self._effects.cpu_seconds(record.process) - before < BUSY

    def _suspects(self) -> list[TaskRecord]:
        """Return the running tasks, if each may wait for others or a reader, and a task waits for a slot; else none."""
        suspects = []
        for process, record in self._state.workers.held.items():
            if process not in self._state.lent:
                if not (record.children or record.paused):  # found at once, as a rule
                    return []
                suspects.append(record)
        return suspects if self._state.queue else []

    def _overtakers(self) -> list[TaskRecord]:
        """Return the tasks that run, if one of them has overtaken the next task of the queue; else none.

        None either while a slot is free, or a run may still be brief. The last of them is one that has overtaken the
        next task.
        """
        state = self._state
        if (task_id := state.queue.next) is None or not (overtaken := state.records[task_id]).was_ahead:
            return []
        running = [record for process, record in state.workers.held.items() if process not in state.lent]
        if len(running) < max(1, state.slots) or any(start_due(record.process) in state.timers for record in running):
            return []
        running.sort(key=lambda record: record.number)
        last = running[-1]
        is_overtaken = last.number > overtaken.number and last.priority <= overtaken.priority and not last.needs
        return running if is_overtaken else []
