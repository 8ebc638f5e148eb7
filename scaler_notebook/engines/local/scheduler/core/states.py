"""The stages of a task in the scheduler's hands, and the one table that moves it between them.

    WAITING      ┌──────────────────────┐
      ▼          │                      ▼
    QUEUED ◄─► RUNNING ◄──► ASKED ──► WARNED ──► ENDING       RUNNING comes back when a request is refused, QUEUED
      ▲          │  │        │          │          │          when the process died before it had begun the run: no
      │          ▼  └────────┴──────────┴──────────┴──► OVER  try runs twice. RUNNING and ASKED lead to ENDING too,
    BACKING_OFF                                               WAITING, QUEUED and BACKING_OFF to OVER.

A task that waits, is queued or backs off is confirmed at once: it is in nobody's hands but ours. A task that runs is
confirmed only when the process that ran it is reaped, also when the interrupt sufficed. A run that ends by itself has
its result sent, whatever was asked of it; only one that failed by an error to retry, was asked nothing and has tries
left is tried again.

``TABLE`` is the specification of what each of :mod:`.events` does, and :mod:`.transitions` carries its actions out.
``docs/states.md`` draws it.
"""

from enum import Enum

from scaler_notebook.protocol.state_table import TransitionTable

from . import events


class Stage(Enum):
    """Where a task is."""

    WAITING = "waiting for inputs"
    QUEUED = "queued"
    BACKING_OFF = "backing off"  # its last try failed; it is queued again after a while
    RUNNING = "running"
    ASKED = "asked"  # interrupted, by a request without force; the grace period runs
    WARNED = "warned"  # interrupted, by a request with force; the grace period runs
    ENDING = "ending"  # its process is being killed
    OVER = "over"  # its last message is sent; its record is gone

    __hash__ = object.__hash__  # a look-up for each event of each task: Enum's own hash is a call of Python code


class Action(Enum):
    """What the scheduler does about an event, and the stage that this leads to; without one the task stays."""

    to: tuple[Stage, ...]

    def __new__(cls, text: str, *to: Stage) -> "Action":
        action = object.__new__(cls)
        action._value_, action.to = text, to
        return action

    QUEUE = "queue", Stage.QUEUED  # in the order of submission: one that comes again gets its old place
    PASS_ON = "send TaskResult(Failed)", Stage.OVER  # an input's, as its own, or the one that says why it never runs
    WITHDRAW = "withdraw, confirm Canceled", Stage.OVER  # unasked
    RUN = "run", Stage.RUNNING  # handed to the process
    ANNOUNCE = "send TaskStarted"  # once; not for a task that ends before it is due
    TAKE_BACK = "take back, confirm Canceled", Stage.OVER
    ASK = "interrupt, in the end refuse", Stage.ASKED  # a grace period begins
    WARN = "interrupt, in the end kill", Stage.WARNED  # a grace period begins, whatever was left of another
    ASK_AGAIN = "interrupt again"  # the first one may have met code that swallows it
    REFUSE = "answer CancelFailed", Stage.RUNNING
    KILL = "kill", Stage.ENDING  # the process, and all that it started
    DELIVER = "send TaskResult", Stage.OVER  # the process is free
    DELIVER_LAST = "send the last TaskResult", Stage.OVER  # written before the kill; its process takes no other task
    PUT_BACK = "put back, in its old place", Stage.QUEUED  # before all of its priority that came later
    BACK_OFF = "back off", Stage.BACKING_OFF  # the process is free
    OUTLIVE = "back off, without the process", Stage.BACKING_OFF
    FAIL = "send TaskResult(FailedWorkerDied)", Stage.OVER
    CONFIRM = "confirm Canceled", Stage.OVER
    NOT_FOUND = "answer CancelNotFound"  # to a client that has no such task here it is over
    FORGET = "forget", Stage.OVER  # nobody waits for it
    IGNORE = "ignore"
    NOT_PERMITTED = "not permitted"  # a bug of ours, logged


def _table() -> TransitionTable[Stage, type[events.Event], Action]:
    s, e, a = Stage, events, Action
    no = a.NOT_PERMITTED
    columns = (s.WAITING, s.QUEUED, s.BACKING_OFF, s.RUNNING, s.ASKED, s.WARNED, s.ENDING, s.OVER)
    rows: dict[type[events.Event], tuple[Action, ...]] = {
        e.InputsThere: (a.QUEUE, no, no, no, no, no, no, no),
        e.InputFailed: (a.PASS_ON, no, no, no, no, no, no, no),
        e.InputCancelled: (a.WITHDRAW, no, no, no, no, no, no, no),
        e.NestedTooDeeply: (a.PASS_ON, a.PASS_ON, a.PASS_ON, no, no, no, no, no),
        e.Dispatched: (no, a.RUN, no, no, no, no, no, no),
        e.StartDue: (no, no, no, a.ANNOUNCE, a.ANNOUNCE, a.ANNOUNCE, a.ANNOUNCE, no),
        e.CancelAsked: (a.TAKE_BACK, a.TAKE_BACK, a.TAKE_BACK, a.ASK, a.IGNORE, a.IGNORE, a.IGNORE, a.NOT_FOUND),
        e.CancelForced: (a.TAKE_BACK, a.TAKE_BACK, a.TAKE_BACK, a.WARN, a.WARN, a.IGNORE, a.IGNORE, a.NOT_FOUND),
        e.HalfGrace: (no, no, no, no, a.ASK_AGAIN, a.ASK_AGAIN, no, no),
        e.GraceOver: (no, no, no, no, a.REFUSE, a.KILL, no, no),
        e.RunEnded: (no, no, no, a.DELIVER, a.DELIVER, a.DELIVER, a.DELIVER_LAST, no),
        e.RunFailed: (no, no, no, a.BACK_OFF, a.DELIVER, a.DELIVER, a.DELIVER_LAST, no),
        e.RunStopped: (no, no, no, a.KILL, a.KILL, a.KILL, a.IGNORE, no),
        e.ProcessDied: (no, no, no, a.FAIL, a.CONFIRM, a.CONFIRM, a.CONFIRM, no),
        e.ProcessDiedTrying: (no, no, no, a.OUTLIVE, a.CONFIRM, a.CONFIRM, a.CONFIRM, no),
        e.ProcessDiedBefore: (no, no, no, a.PUT_BACK, a.CONFIRM, a.CONFIRM, a.CONFIRM, no),
        e.BackoffOver: (no, no, a.QUEUE, no, no, no, no, no),
        e.ClientGone: (a.FORGET, a.FORGET, a.FORGET, a.KILL, a.KILL, a.KILL, a.IGNORE, no),
    }
    return TransitionTable(columns, rows)


TABLE = _table()
