"""The items that tasks give before their end, and the tasks that wait for the readers of their items."""

from scaler_notebook.protocol.messages import Payload, TaskItem

from . import events
from .dispatch.slot_lending import SlotLending
from .effects import Effects
from .state.records import TaskRecord
from .state.scheduler_state import SchedulerState
from .transitions import Transitions, start_due


class ItemFlow:
    """The flow of items from task processes to clients, and of how many were taken to the processes.

    Parameters
    ----------
    state
        The core's state.
    effects
        Sends items, and tells processes.
    transitions
        Announces a task that gives an item before it was announced.
    lending
        Lends the slots of tasks that wait.
    """

    def __init__(self, state: SchedulerState, effects: Effects, transitions: Transitions, lending: SlotLending) -> None:
        self._state = state
        self._effects = effects
        self._transitions = transitions
        self._lending = lending

    def gave(self, process: int, seq: int, value: Payload) -> None:
        """Send an item of a run to the task's client; one of another run than the current one is dropped.

        Parameters
        ----------
        process
            The number of the process.
        seq
            The number of the run, among the runs of the process.
        value
            The pickled item.
        """
        record = self._running(process, seq)
        if record is None:
            return
        if self._state.timers.cancel(start_due(process)):
            self._transitions.handle(record, events.StartDue())
        self._effects.send(record.owner, TaskItem(record.task.task_id, value))

    def paused(self, process: int, seq: int, taken: int) -> None:
        """Lend the slot of a run that waits for its reader, unless that has taken more than the run knows of.

        Parameters
        ----------
        process
            The number of the process.
        seq
            The number of the run, among the runs of the process.
        taken
            How many items were taken, as far as the process knows.
        """
        record = self._running(process, seq)
        if record is None:
            return
        if record.taken > taken:  # on the way, or from before the run
            self._effects.tell_taken(process, seq, record.taken)
        elif not record.paused:
            self._lending.lend_to_reader(record)
            record.paused = True

    def taken(self, owner: bytes, task_id: str, count: int) -> None:
        """Tell a task how many of its items were taken, which ends its wait.

        Parameters
        ----------
        owner
            The client.
        task_id
            The task; one that is not of this client is told nothing, and one that is not running when it first waits.
        count
            How many items were taken, in all.
        """
        record = self._state.records.get(task_id)
        if record is None or record.owner != owner:
            return
        record.taken = max(record.taken, count)
        if self._state.workers.held.get(record.process) is not record:
            return
        self._effects.tell_taken(record.process, record.seq, record.taken)
        if record.paused:
            record.paused = False
            if record.process in self._state.lent:
                self._lending.take_back(record)

    def _running(self, process: int, seq: int) -> TaskRecord | None:
        """Return the task of a process, if this is its current run."""
        record = self._state.workers.held.get(process)
        return record if record is not None and record.seq == seq else None
