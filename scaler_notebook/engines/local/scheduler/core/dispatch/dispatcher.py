"""The dispatcher, which starts queued tasks in idle processes."""

import contextlib
from collections.abc import Iterator

from scaler_notebook.engines.local.scheduler.core import events
from scaler_notebook.engines.local.scheduler.core.effects import Effects
from scaler_notebook.engines.local.scheduler.core.state.records import TaskRecord
from scaler_notebook.engines.local.scheduler.core.state.scheduler_state import SchedulerState
from scaler_notebook.engines.local.scheduler.core.state.turns import Turns
from scaler_notebook.engines.local.scheduler.core.transitions import Transitions

from .prefetching import Prefetching
from .scaling import Scaling
from .slot_lending import SlotLending


class Dispatcher:
    """Starts tasks, in the order of the queue, while slots and processes are free.

    Parameters
    ----------
    state
        The core's state; changed here.
    effects
        Tells which process suits a task, and kills those that suit none.
    transitions
        Handles the events of tasks.
    turns
        Is told which turns have come.
    prefetching
        Hands out what is queued when every slot has a task.
    lending
        Knows how many slots are lent.
    scaling
        Lets processes go that have nothing to do.
    """

    def __init__(
        self,
        state: SchedulerState,
        effects: Effects,
        transitions: Transitions,
        turns: Turns,
        prefetching: Prefetching,
        lending: SlotLending,
        scaling: Scaling,
    ) -> None:
        self._state = state
        self._effects = effects
        self._transitions = transitions
        self._turns = turns
        self._prefetching = prefetching
        self._lending = lending
        self._scaling = scaling
        self._in_batch = False
        self._is_due = False  # at the end of the batch

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Dispatch once for all that happens in the block, at its end: see :meth:`dispatch`."""
        outer, self._in_batch = self._in_batch, True
        try:
            yield
        finally:
            self._in_batch = outer
            if self._is_due and not outer:
                self.dispatch()

    def dispatch(self, soon: bool = False) -> None:
        """Start as many queued tasks as there are free slots and processes, and have brief ones prefetched.

        Within a :meth:`batch` nothing happens before its end, unless a task could begin at once.

        Parameters
        ----------
        soon
            May a task that could begin at once wait until the end of the batch?
        """
        state, idle, held = self._state, self._state.workers.idle, self._state.workers.held
        if self._in_batch and (soon or not (idle and state.queue and len(held) < state.slots + len(state.lent))):
            self._is_due = True
            return
        self._is_due = False
        self._prefetching.recall_if_slow()
        slots = state.slots + self._lending.adjust_processes()
        if idle and len(held) < slots:
            self._prefetching.share()  # what is prefetched may come before all that is queued
        while idle and len(held) < slots and (task_id := state.queue.next) is not None:
            record = state.records[task_id]
            if state.devices:
                if self._place(record) and state.queue.next == task_id:
                    break  # the process that it needs is still to come
                continue
            suiting = (each for each in reversed(idle) if self._effects.suits(each, record.context))
            if (process := next(suiting, 0)) == 0:
                self._effects.kill(idle.pop())  # another process takes its place
                continue
            self._begin(record, process)
        for process in state.devices.holding_memory() if state.devices else ():
            self._replace(process)
        if len(held) <= slots:  # else there are fewer slots than before, and nothing begins
            self._prefetching.fill()
        self._lending.watch_for_standstill()
        self._scaling.settle()

    def _begin(self, record: TaskRecord, process: int) -> None:
        """Start a queued task in an idle process."""
        self._state.workers.idle.remove(process)
        self._turns.dispatched(record.number)
        self._transitions.handle(record, events.Dispatched(process))

    def _place(self, record: TaskRecord) -> bool:
        """Start a queued task with the devices that it takes; return True if no process can take the task yet."""
        workers, devices = self._state.workers, self._state.devices
        placement = devices.place(record, lambda process: self._effects.suits(process, record.context))
        for process in placement.ending:
            self._replace(process)
        process = placement.process
        if not process or placement.ending:
            return True
        record.devices = placement.devices
        if record.devices and process not in workers.devices:
            workers.devices[process] = record.devices
            self._effects.assign_devices(process, devices.named(record.devices))
        self._begin(record, process)
        return False

    def _replace(self, process: int) -> None:
        """Kill an idle process, whose place another takes."""
        self._state.workers.reserve(process)
        self._effects.kill(process)
