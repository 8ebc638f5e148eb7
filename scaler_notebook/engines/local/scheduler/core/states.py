"""The stages of a task in the scheduler, and the one table of the transitions between them.

    WAITING      ┌──────────────────────┐
      ▼          │                      ▼
    QUEUED ◄─► RUNNING ◄──► ASKED ──► WARNED ──► ENDING       RUNNING comes back when a request is refused, QUEUED
     ▲ ▲         ▲  │        │          │          │          when the process died before it had begun the run: no
     │ ▼         │  └────────┴──────────┴──────────┴──► OVER  try runs twice. RUNNING and ASKED lead to ENDING too,
     │ PREFETCHED┘                                            WAITING, QUEUED and BACKING_OFF to OVER, RUNNING to
    BACKING_OFF                                               BACKING_OFF.

A prefetched task is with a process that still runs another one (:mod:`.prefetching`). Before anything else happens to
the task, it is taken back and is QUEUED, or turns out to have begun and is RUNNING.

The cancel of a task that waits, is queued or backs off is confirmed at once, as no process has the task. The cancel of
a running task is confirmed only when the task's process is reaped, even if the interrupt sufficed. If a run ends by
itself, the result is sent, whether a cancel was requested or not; only a run that failed by an error to retry, was not
asked to stop and has tries left is tried again.

``TABLE`` specifies what each of :mod:`.events` does; :mod:`.transitions` performs the actions.
``docs/states.md`` draws it.
"""

from enum import Enum

from scaler_notebook.engines.scheduling import task_events
from scaler_notebook.protocol.state_table import TransitionTable

from . import events


class TaskStage(Enum):
    """The stage of a task."""

    WAITING = "waiting for inputs"
    QUEUED = "queued"
    BACKING_OFF = "backing off"  # between two tries
    PREFETCHED = "prefetched"  # a process that runs another task has it; until it begins, it can be taken back
    RUNNING = "running"
    ASKED = "asked"  # interrupted, by a request without force; the grace period runs
    WARNED = "warned"  # interrupted, by a request with force; the grace period runs
    ENDING = "ending"  # its process is being killed
    OVER = "over"  # the last message is sent, and there is no record any more

    __hash__ = object.__hash__  # for speed: Enum's own hash is written in Python


class TaskAction(Enum):
    """A reaction of the scheduler to an event, and the stage that follows; without one the stage stays the same."""

    to: tuple[TaskStage, ...]

    def __new__(cls, text: str, *to: TaskStage) -> "TaskAction":
        """Create an action from a text, which is its value, and the stage that follows, if one does."""
        action = object.__new__(cls)
        action._value_, action.to = text, to
        return action

    QUEUE = "queue", TaskStage.QUEUED  # in the order of submission
    PASS_ON = "send TaskResult(Failed)", TaskStage.OVER  # that of an input, or the one that says why it never runs
    WITHDRAW = "withdraw, confirm Canceled", TaskStage.OVER  # without a request
    RUN = "run", TaskStage.RUNNING  # handed to a process
    PREFETCH = "prefetch", TaskStage.PREFETCHED  # handed to a process, behind the task that runs
    BEGIN = "note the start", TaskStage.RUNNING
    RECALL = "queue again, in its old place", TaskStage.QUEUED
    ANNOUNCE = "send TaskStarted"  # once a try; not for a task that ends before the announcement is due
    TAKE_BACK = "take back, confirm Canceled", TaskStage.OVER
    ASK = "interrupt, in the end refuse", TaskStage.ASKED  # a grace period begins
    WARN = "interrupt, in the end kill", TaskStage.WARNED  # a new grace period begins
    ASK_AGAIN = "interrupt again"  # code of the task may have swallowed the first one
    REFUSE = "answer CancelFailed", TaskStage.RUNNING
    KILL = "kill", TaskStage.ENDING  # the process, and all descendants
    DELIVER = "send TaskResult", TaskStage.OVER  # the process is free
    DELIVER_LAST = "send the last TaskResult", TaskStage.OVER  # sent before the kill; the process takes no other task
    PUT_BACK = "put back, in its old place", TaskStage.QUEUED
    BACK_OFF = "back off", TaskStage.BACKING_OFF  # the process is free
    OUTLIVE = "back off, without the process", TaskStage.BACKING_OFF
    FAIL = "send TaskResult(FailedWorkerDied)", TaskStage.OVER
    CONFIRM = "confirm Canceled", TaskStage.OVER
    NOT_FOUND = "answer CancelNotFound"  # the task is unknown, over, or another client's
    FORGET = "forget", TaskStage.OVER  # the client is gone
    IGNORE = "ignore"
    NOT_PERMITTED = "not permitted"  # a bug of ours, logged


def _table() -> TransitionTable[TaskStage, type[events.Event], TaskAction]:
    """Return the transition table: a row for each event, a column for each stage."""
    s, e, a = TaskStage, events, TaskAction
    no = a.NOT_PERMITTED
    columns = (s.WAITING, s.QUEUED, s.BACKING_OFF, s.PREFETCHED, s.RUNNING, s.ASKED, s.WARNED, s.ENDING, s.OVER)
    rows: dict[type[events.Event], tuple[TaskAction, ...]] = {
        task_events.InputsAvailable: (a.QUEUE, no, no, no, no, no, no, no, no),
        task_events.InputFailed: (a.PASS_ON, no, no, no, no, no, no, no, no),
        task_events.InputCancelled: (a.WITHDRAW, no, no, no, no, no, no, no, no),
        e.NestedTooDeeply: (a.PASS_ON, a.PASS_ON, a.PASS_ON, no, no, no, no, no, no),
        e.Dispatched: (no, a.RUN, no, no, no, no, no, no, no),
        e.Prefetched: (no, a.PREFETCH, no, no, no, no, no, no, no),
        e.Begun: (no, no, no, a.BEGIN, no, no, no, no, no),
        e.Recalled: (no, no, no, a.RECALL, no, no, no, no, no),
        e.StartDue: (no, no, no, no, a.ANNOUNCE, a.ANNOUNCE, a.ANNOUNCE, a.ANNOUNCE, no),
        e.CancelAsked: (a.TAKE_BACK, a.TAKE_BACK, a.TAKE_BACK, no, a.ASK, a.IGNORE, a.IGNORE, a.IGNORE, a.NOT_FOUND),
        e.CancelForced: (a.TAKE_BACK, a.TAKE_BACK, a.TAKE_BACK, no, a.WARN, a.WARN, a.IGNORE, a.IGNORE, a.NOT_FOUND),
        e.HalfGrace: (no, no, no, no, no, a.ASK_AGAIN, a.ASK_AGAIN, no, no),
        task_events.GraceOver: (no, no, no, no, no, a.REFUSE, a.KILL, no, no),
        e.RunEnded: (no, no, no, no, a.DELIVER, a.DELIVER, a.DELIVER, a.DELIVER_LAST, no),
        e.RunFailed: (no, no, no, no, a.BACK_OFF, a.DELIVER, a.DELIVER, a.DELIVER_LAST, no),
        e.RunStopped: (no, no, no, no, a.KILL, a.KILL, a.KILL, a.IGNORE, no),
        e.ProcessDied: (no, no, no, no, a.FAIL, a.CONFIRM, a.CONFIRM, a.CONFIRM, no),
        e.ProcessDiedTrying: (no, no, no, no, a.OUTLIVE, a.CONFIRM, a.CONFIRM, a.CONFIRM, no),
        e.ProcessDiedBefore: (no, no, no, no, a.PUT_BACK, a.CONFIRM, a.CONFIRM, a.CONFIRM, no),
        task_events.BackoffOver: (no, no, a.QUEUE, no, no, no, no, no, no),
        e.ClientGone: (a.FORGET, a.FORGET, a.FORGET, no, a.KILL, a.KILL, a.KILL, a.IGNORE, no),
    }
    return TransitionTable(columns, rows)


TABLE = _table()
