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

``TABLE`` is the specification; :mod:`.core` carries its actions out and decides nothing. ``docs/states.md`` draws it.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


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


class Event(Enum):
    """What can happen to a task."""

    INPUTS_THERE = "inputs there"  # the last of them has come
    INPUT_FAILED = "an input failed"
    INPUT_CANCELLED = "an input was cancelled"
    TOO_DEEP = "nested too deeply"  # there is no process left for it
    DISPATCHED = "dispatched"  # a slot and a process are free
    START_DUE = "TaskStarted due"  # it runs for a while, or its process died: it decides "stopped" or "never started"
    CANCEL = "TaskCancel"
    CANCEL_FORCE = "TaskCancel(force)"
    HALF_GRACE = "half of the grace period"
    GRACE_OVER = "end of the grace period"
    ENDED = "run ended"  # by itself: with a result or an exception, whatever was asked of it
    FAILED = "run failed, tries left"
    STOPPED = "run stopped"  # by an interrupt, perhaps one whose request has been refused since
    DIED = "process reaped"  # and what it had started is gone
    DIED_TRYING = "process reaped, tries left"
    DIED_BEFORE = "process reaped, run not begun"  # it died with the task before it: no line of this one has run
    BACKOFF_OVER = "end of the back-off"
    CLIENT_GONE = "client gone"  # or the task that has submitted this one

    __hash__ = object.__hash__


class Action(Enum):
    """What the scheduler does about an event, and the stage that this leads to; without one the task stays."""

    to: tuple[Stage, ...]

    def __new__(cls, text: str, *to: Stage) -> "Action":
        action = object.__new__(cls)
        action._value_, action.to = text, to
        return action

    QUEUE = "queue", Stage.QUEUED
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
    QUEUE_AGAIN = "queue again, in its old place", Stage.QUEUED
    FAIL = "send TaskResult(FailedWorkerDied)", Stage.OVER
    CONFIRM = "confirm Canceled", Stage.OVER
    NOT_FOUND = "answer CancelNotFound"  # to a client that has no such task here it is over
    FORGET = "forget", Stage.OVER  # nobody waits for it
    IGNORE = "ignore"
    NOT_PERMITTED = "not permitted"  # a bug of ours, logged


def _table() -> dict[tuple[Stage, Event], Action]:
    s, e, a = Stage, Event, Action
    no = a.NOT_PERMITTED
    columns = (s.WAITING, s.QUEUED, s.BACKING_OFF, s.RUNNING, s.ASKED, s.WARNED, s.ENDING, s.OVER)
    rows = {
        e.INPUTS_THERE: (a.QUEUE, no, no, no, no, no, no, no),
        e.INPUT_FAILED: (a.PASS_ON, no, no, no, no, no, no, no),
        e.INPUT_CANCELLED: (a.WITHDRAW, no, no, no, no, no, no, no),
        e.TOO_DEEP: (a.PASS_ON, a.PASS_ON, a.PASS_ON, no, no, no, no, no),
        e.DISPATCHED: (no, a.RUN, no, no, no, no, no, no),
        e.START_DUE: (no, no, no, a.ANNOUNCE, a.ANNOUNCE, a.ANNOUNCE, a.ANNOUNCE, no),
        e.CANCEL: (a.TAKE_BACK, a.TAKE_BACK, a.TAKE_BACK, a.ASK, a.IGNORE, a.IGNORE, a.IGNORE, a.NOT_FOUND),
        e.CANCEL_FORCE: (a.TAKE_BACK, a.TAKE_BACK, a.TAKE_BACK, a.WARN, a.WARN, a.IGNORE, a.IGNORE, a.NOT_FOUND),
        e.HALF_GRACE: (no, no, no, no, a.ASK_AGAIN, a.ASK_AGAIN, no, no),
        e.GRACE_OVER: (no, no, no, no, a.REFUSE, a.KILL, no, no),
        e.ENDED: (no, no, no, a.DELIVER, a.DELIVER, a.DELIVER, a.DELIVER_LAST, no),
        e.FAILED: (no, no, no, a.BACK_OFF, a.DELIVER, a.DELIVER, a.DELIVER_LAST, no),
        e.STOPPED: (no, no, no, a.KILL, a.KILL, a.KILL, a.IGNORE, no),
        e.DIED: (no, no, no, a.FAIL, a.CONFIRM, a.CONFIRM, a.CONFIRM, no),
        e.DIED_TRYING: (no, no, no, a.OUTLIVE, a.CONFIRM, a.CONFIRM, a.CONFIRM, no),
        e.DIED_BEFORE: (no, no, no, a.PUT_BACK, a.CONFIRM, a.CONFIRM, a.CONFIRM, no),
        e.BACKOFF_OVER: (no, no, a.QUEUE_AGAIN, no, no, no, no, no),
        e.CLIENT_GONE: (a.FORGET, a.FORGET, a.FORGET, a.KILL, a.KILL, a.KILL, a.IGNORE, no),
    }
    return {(stage, event): row[i] for event, row in rows.items() for i, stage in enumerate(columns)}


TABLE: Mapping[tuple[Stage, Event], Action] = MappingProxyType(_table())
