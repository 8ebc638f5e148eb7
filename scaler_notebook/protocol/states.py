"""The future's states and the transition table that moves a future between them.

    SUBMITTED ──► RUNNING ──► FINISHED ──► CANCELLED     SUBMITTED and RUNNING come back when the engine refuses,
        ▲            ▲                         ▲         FINISHED never: a result after a request is CANCELLED.
        └────────────┴──► CANCELLING ──────────┘         SUBMITTED leads to FINISHED too: a short task is not announced.

``TABLE`` is the specification. :mod:`scaler_notebook.client.task_state.lifecycle` performs the actions and decides
nothing. ``docs/states.md`` draws the table.
"""

from enum import Enum

from . import future_events
from .future_events import FutureEvent
from .state_table import TransitionTable


class TaskState(Enum):
    """The states of a future, from which the standard library's own state is derived, never the reverse."""

    SUBMITTED = "submitted"  # the engine has the task, or is about to; a person reads "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"  # TaskCancel is sent and not answered
    FINISHED = "finished"  # a value or an exception is on this machine
    CANCELLED = "cancelled"  # CancelReason says why

    __hash__ = object.__hash__  # for speed: Enum's own hash is written in Python

    @property
    def terminal(self) -> bool:
        """True for FINISHED and CANCELLED."""
        return self is TaskState.FINISHED or self is TaskState.CANCELLED


class CancelReason(Enum):
    """The reasons for which a task counts as cancelled; the value is what a person reads."""

    STOPPED = "stopped"  # the task ran, and its process is gone
    NEVER_STARTED = "never started"
    FINISHED_FIRST = "finished first"  # the result was on its way, and is dropped
    FAILED_FIRST = "failed first"
    NOT_FOUND = "not found"  # the engine did not know the task
    DISCARDED = "discarded"  # cancelled after the task had finished
    TIMED_OUT = "timed out"  # the deadline requested the cancel; the trace says how the task ended
    PARENT_CANCELLED = "parent cancelled"
    DISCONNECTED = "disconnected"  # the engine was lost before the cancel was answered


class FutureAction(Enum):
    """The actions of a future on an event, with the states that each may lead to."""

    to: tuple[TaskState, ...]

    def __new__(cls, text: str, *to: TaskState) -> "FutureAction":
        """Make an action.

        Parameters
        ----------
        text
            The value: the action in words.
        *to
            The states that the action may lead to.
        """
        action = object.__new__(cls)
        action._value_, action.to = text, to
        return action

    START = "start", TaskState.RUNNING
    # Note the start of a further try, or that of any try while a cancel is under way: it decides between "stopped" and
    # "never started", and where a refusal leads.
    REMEMBER_START = "remember start"
    REQUEST = "request", TaskState.CANCELLING  # send TaskCancel once
    TIME_OUT = "request, timed out", TaskState.CANCELLING  # the same, and the reason is TIMED_OUT unless refused
    UPGRADE = "upgrade"  # send TaskCancel again if the new request is stronger
    DISCARD = "discard", TaskState.CANCELLED  # drop the value; waiters were notified before
    WITHDRAW = "withdraw", TaskState.CANCELLED  # unasked: the engine withdrew the task
    CONFIRM = "confirm", TaskState.CANCELLED  # stopped or never started
    NOT_FOUND = "not found", TaskState.CANCELLED
    REFUSE = "refuse", TaskState.RUNNING, TaskState.SUBMITTED  # ignored if weaker than the request
    FINISH = "finish", TaskState.FINISHED
    TOO_LATE = "too late", TaskState.CANCELLED  # finished first or failed first; release the payload
    LOSE = "lose", TaskState.FINISHED  # with EngineLostError
    DISCONNECT = "disconnect", TaskState.CANCELLED
    IGNORE = "ignore"  # a payload that came is dropped
    NOT_PERMITTED = "not permitted"  # a protocol error, logged


def _table() -> TransitionTable[TaskState, type[FutureEvent], FutureAction]:
    s, e, a = TaskState, future_events, FutureAction
    columns = (s.SUBMITTED, s.RUNNING, s.CANCELLING, s.FINISHED, s.CANCELLED)
    rows: dict[type[FutureEvent], tuple[FutureAction, ...]] = {
        e.StartAnnounced: (a.START, a.REMEMBER_START, a.REMEMBER_START, a.IGNORE, a.IGNORE),
        e.CancelRequested: (a.REQUEST, a.REQUEST, a.UPGRADE, a.DISCARD, a.IGNORE),
        e.DeadlineReached: (a.TIME_OUT, a.TIME_OUT, a.UPGRADE, a.IGNORE, a.IGNORE),
        e.CancelGranted: (a.WITHDRAW, a.WITHDRAW, a.CONFIRM, a.IGNORE, a.IGNORE),
        e.TaskUnknown: (a.NOT_PERMITTED, a.NOT_PERMITTED, a.NOT_FOUND, a.IGNORE, a.IGNORE),
        e.CancelRefused: (a.IGNORE, a.IGNORE, a.REFUSE, a.IGNORE, a.IGNORE),
        e.ResultArrived: (a.FINISH, a.FINISH, a.TOO_LATE, a.NOT_PERMITTED, a.IGNORE),
        e.EngineGone: (a.LOSE, a.LOSE, a.DISCONNECT, a.IGNORE, a.IGNORE),
    }
    return TransitionTable(columns, rows)


TABLE = _table()
