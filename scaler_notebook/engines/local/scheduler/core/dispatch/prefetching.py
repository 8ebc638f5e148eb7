"""Prefetch: while a process runs a brief task, it is handed the next ones, which can be taken back until they begin.

So a process goes from one brief task to the next without a word of the scheduler's. Each prefetched task is begun, or
taken back, and never both (:mod:`scaler_notebook.engines.local.ipc.claims`). What is brief is known from earlier runs
of the same function; the first tasks of a function go one to a process, in the order of their submission. Tasks are
taken back

- as soon as the task before them is no longer brief, waits for others, or is asked to stop: no task waits behind a slow
  one while another slot is free;
- when a slot and a process are free: these take the first task of all;
- when a task of a higher priority comes;
- before anything happens to one of them, and when their process dies. A task that was taken back has used up no try.
"""

from collections import deque

from scaler_notebook.engines.local.scheduler.core import events
from scaler_notebook.engines.local.scheduler.core.effects import Effects, PrefetchedRun
from scaler_notebook.engines.local.scheduler.core.state.records import TaskRecord
from scaler_notebook.engines.local.scheduler.core.state.scheduler_state import SchedulerState
from scaler_notebook.engines.local.scheduler.core.state.turns import Turns
from scaler_notebook.engines.local.scheduler.core.states import TaskStage
from scaler_notebook.engines.local.scheduler.core.transitions import Transitions, start_due
from scaler_notebook.protocol.messages import Task

from .durations import Durations

WORK_AHEAD = 0.004  # seconds of work that a process has ahead, at most
MAX_AHEAD = 64  # tasks
COST = 0.00004  # seconds that a run takes beside the task's own code
LARGEST_ARGUMENTS = 16 * 1024  # bytes; what a socket does not take at once delays what comes behind

RECALLED = events.Recalled()
BEGUN = events.Begun()


class Prefetching:
    """Decides which tasks are prefetched, and takes them back.

    Parameters
    ----------
    state
        The core's state; changed here.
    effects
        Hands runs to processes, and takes them back.
    transitions
        Handles the events of tasks.
    turns
        Is told which turns have come.
    """

    def __init__(self, state: SchedulerState, effects: Effects, transitions: Transitions, turns: Turns) -> None:
        self._state = state
        self._effects = effects
        self._transitions = transitions
        self._turns = turns
        self._durations = Durations()
        self._closed: set[int] = set()  # processes that are given nothing more until their run has ended
        self._lowest = 0  # priority of a prefetched task

    def run_ended(self, record: TaskRecord, seconds: float, quiet: bool) -> None:
        """Learn from the end of a run.

        Parameters
        ----------
        record
            The task.
        seconds
            How long the run took; 0 if that is unknown.
        quiet
            Does the process go on without a word of the scheduler's?
        """
        self._closed.discard(record.process)
        self._durations.learn(record.task.function, seconds, quiet)

    def forget(self, process: int) -> None:
        """Forget a process that has died, after the last :meth:`recall`."""
        self._closed.discard(process)

    # ------------------------------------------------------------------ handing out

    def fill(self) -> None:
        """Hand queued tasks to the processes whose runs are brief; to be called when every slot has a task.

        The processes are given one task after the other in turn, so that what was submitted together begins together.
        """
        state = self._state
        if not state.queue or state.workers.are_counted:
            return
        ahead = state.workers.ahead
        wanting = [
            (record, room)
            for process, record in state.workers.held.items()
            if 2 * len(ahead(process)) < (room := self._room(record))
            and process not in self._closed
            and self._is_brief(record)
        ]
        if wanting:
            # Fewer towards the end, so that slots end together.
            most = (len(state.queue) + state.workers.count_ahead) // state.slots
            shares = [_Share(record, min(room, most), len(ahead(record.process))) for record, room in wanting]
            self._distribute([share for share in shares if 2 * share.has < share.room])

    def _room(self, holder: TaskRecord) -> int:
        """Return how many tasks a process may have ahead, if there are many."""
        mean = self._durations.mean_of_brief(holder.task.function)
        return 0 if mean is None else min(MAX_AHEAD, int(WORK_AHEAD / (mean + COST)))

    def _distribute(self, shares: "list[_Share]") -> None:
        """Give the next tasks of the queue to processes, by turns."""
        queue, records, turns = self._state.queue, self._state.records, deque(shares)
        while turns and (task_id := queue.next) is not None:
            share = turns.popleft()
            record = records[task_id]
            if share.has < share.room and self._can_be_ahead(record, share.holder):
                share.has += 1
                share.runs.append(self._put_behind(share, record))
                turns.append(share)
        for share in shares:
            if share.runs:
                self._effects.prefetch(share.holder.process, share.runs)

    def _is_brief(self, holder: TaskRecord) -> bool:
        """Return whether a task that a process holds may end in a moment, as far as is known."""
        state, process = self._state, holder.process
        options = holder.task.options
        nested = holder.parent is not None or bool(holder.children)
        alone = not (nested or options.memory_limit or options.gpus or process in state.lent)
        return alone and holder.stage is TaskStage.RUNNING and start_due(process) in state.timers

    def _can_be_ahead(self, record: TaskRecord, holder: TaskRecord) -> bool:
        """Return whether a queued task may be handed to the process that holds another."""
        if record.context is not holder.context or record.parent is not None or not _needs_its_turn_alone(record.task):
            return False
        return self._durations.mean_of_brief(record.task.function) is not None

    def _put_behind(self, share: "_Share", record: TaskRecord) -> PrefetchedRun:
        """Move the next task from the queue behind the one that a process holds."""
        priority = record.priority
        self._lowest = min(self._lowest, priority) if self._state.workers.has_ahead else priority
        self._turns.dispatched(record.number)
        self._transitions.handle(record, share.prefetched)
        return PrefetchedRun(record.seq, record.task, not record.tries_left)

    @property
    def slack(self) -> float:
        """Seconds of quiet, brief work that every slot's process has ahead, as far as is known; 0 if one may have none.

        For so long nobody waits for the scheduler.
        """
        state, workers = self._state, self._state.workers
        if not workers.has_ahead or len(workers.held) < state.slots + len(state.lent):
            return 0.0
        return min(map(self._quiet_work, workers.held.values()))

    def _quiet_work(self, holder: TaskRecord) -> float:
        """Return the seconds of quiet, brief work that the process of a task has ahead, as far as is known."""
        function = holder.task.function
        mean = self._durations.mean_of_brief(function)
        if mean is None or holder.process in self._closed or not self._durations.is_quiet(function):
            return 0.0
        return len(self._state.workers.ahead(holder.process)) * (mean + COST) if self._is_brief(holder) else 0.0

    # ------------------------------------------------------------------ taking back

    def recall(self, process: int) -> None:
        """Take back what a process has ahead; it is given nothing more until its run has ended."""
        if self._state.workers.ahead(process):
            self._closed.add(process)
            self._take_back(process)

    def _take_back(self, process: int) -> None:
        """Take back what a process has ahead; what it has begun by now, runs."""
        workers = self._state.workers
        for record in workers.take_back(process, self._effects.recall(process, workers.held[process].seq)):
            self._transitions.handle(record, RECALLED)
        for record in workers.ahead(process):
            if record.stage is TaskStage.PREFETCHED:
                self._transitions.handle(record, BEGUN)

    def recall_all(self) -> None:
        """Take back what any process has ahead; they are given nothing more until their runs have ended."""
        for process in self._state.workers.have_ahead:
            self.recall(process)

    def share(self) -> None:
        """Take back what any process has ahead, to be handed out anew, by turns, to all that can take it."""
        for process in self._state.workers.have_ahead:
            if process not in self._closed:
                self._take_back(process)

    def recall_if_slow(self) -> None:
        """Take back what any process has ahead if it is behind a task that is no longer brief.

        Others have later tasks ahead, which would begin before those that are taken back.
        """
        workers = self._state.workers
        for process in workers.have_ahead:
            if process not in self._closed and not self._is_brief(workers.held[process]):
                self.recall(process)
                self.share()

    def make_way(self, priority: int) -> None:
        """Take back what was prefetched if a task of this priority goes before it."""
        if self._state.workers.has_ahead and priority > self._lowest:
            self.recall_all()

    def settle(self, record: TaskRecord) -> None:
        """Take a prefetched task back, or find that it has begun; nothing happens to any other task."""
        if record.stage is TaskStage.PREFETCHED:
            self.recall(record.process)

    def is_over(self, record: TaskRecord) -> bool:
        """Settle a task, and return whether its run has ended already; then the message of that end is on its way.

        It has if the process of the task has begun the next one, which does not go back.
        """
        self.settle(record)
        if self._state.workers.held.get(record.process) is not record:
            return False
        self.recall(record.process)
        return bool(self._state.workers.ahead(record.process))


class _Share:
    """What one process is given ahead.

    Parameters
    ----------
    holder
        The task that the process holds.
    room
        How many tasks the process may have ahead.
    has
        How many it has.
    """

    __slots__ = ("has", "holder", "prefetched", "room", "runs")

    def __init__(self, holder: TaskRecord, room: int, has: int) -> None:
        self.holder = holder
        self.room = room
        self.has = has
        self.runs: list[PrefetchedRun] = []
        self.prefetched = events.Prefetched(holder.process)


def _needs_its_turn_alone(task: Task) -> bool:
    """Return whether a task needs nothing but its turn, and little room in a socket."""
    options, function, arguments = task.options, task.function, task.arguments
    needs = task.inputs or options.capabilities or options.memory > 0 or options.memory_limit or options.gpus
    return not (needs or function.buffers or arguments.buffers) and len(arguments.data) <= LARGEST_ARGUMENTS
