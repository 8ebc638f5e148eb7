"""The deaths of task processes: what becomes of the task that a process held."""

from scaler_notebook.engines.scheduling.timers import Clock
from scaler_notebook.protocol.messages import Payload, ProcessExit, TaskFigures, TaskResult, TaskResultType

from . import events
from .effects import Effects
from .state.records import TaskRecord
from .state.scheduler_state import SchedulerState
from .states import TaskStage
from .transitions import Transitions, start_due

MAX_DISPATCHES = 3  # of a task whose processes die before they begin it: then the task itself may be the cause


class ProcessDeaths:
    """Handles the deaths of processes for the tasks that they held.

    Parameters
    ----------
    state
        The core's state; changed here.
    effects
        Performs the side effects.
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

    def died(self, process: int, how: str, begun: bool, process_exit: ProcessExit, peak: int) -> None:
        """End the task of a process that is reaped, or have it tried again.

        Parameters
        ----------
        process
            The number of the process.
        how
            How the process died, in words.
        begun
            Had the process begun its last run? If not, the task can be queued again.
        process_exit
            How the process died, in figures.
        peak
            The most resident memory that the process had, in bytes; 0 if unknown.
        """
        record = self._state.workers.held.get(process)
        if record is None:
            return
        unannounced = self._state.timers.cancel(start_due(process))
        before = unannounced and not begun and record.dispatches < MAX_DISPATCHES
        if unannounced and not before:
            self._transitions.handle(record, events.StartDue())
        self._transitions.handle(record, self._event(record, how, before, process_exit, peak))

    def _event(self, record: TaskRecord, how: str, before: bool, process_exit: ProcessExit, peak: int) -> events.Event:
        """Return the event that the death of its process is to a task."""
        if before:
            return events.ProcessDiedBefore()
        if record.outlives:
            return events.ProcessDiedTrying(how)
        figures = TaskFigures(
            record.started,
            self._clock.time(),
            peak_rss=peak,
            processor=str(record.process),
            devices=self._state.devices.named(record.devices),
        )
        payload, outcome = Payload(how.encode()), TaskResultType.FAILED_WORKER_DIED
        return events.ProcessDied(TaskResult(record.task.task_id, outcome, payload, figures, process_exit=process_exit))

    def give_up(self, process: int, how: str) -> None:
        """End the tasks of a process whose death could not be handled, after an exception that is a bug of ours.

        Parameters
        ----------
        process
            The number of the process.
        how
            How the process died, in words.
        """
        state = self._state
        was_lent = process in state.lent
        state.workers.remove(process)
        state.lent.discard(process)
        held = state.workers.held.pop(process, None)
        for record in (held, *state.workers.forget_ahead(process)):
            if record is not None:
                self._transitions.cancel_timers(record)
                if state.records.pop(record.task.task_id, None) is not None:
                    self._fail(record, how, was_lent)

    def _fail(self, record: TaskRecord, how: str, was_lent: bool) -> None:
        """End a task that is in no table any more.

        Parameters
        ----------
        record
            The task.
        how
            How its process died, in words.
        was_lent
            Had the task lent what it needs?
        """
        state = self._state
        record.stage = TaskStage.OVER
        died = TaskResult(record.task.task_id, TaskResultType.FAILED_WORKER_DIED, Payload(how.encode()))
        self._effects.send(record.owner, died)
        if record.needs and not was_lent:
            state.resources.give_back(record)
        self._transitions.abandon_children(record)
        self._transitions.fail_dependants(record, died)
        if record.task.inputs:
            state.dependencies.release(record)
