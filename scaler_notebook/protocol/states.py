"""The future's states and the one table that moves it between them.

    SUBMITTED ──► RUNNING ──► FINISHED ──► CANCELLED     SUBMITTED and RUNNING come back when the engine refuses,
        ▲            ▲                         ▲         FINISHED never: a result after a request is CANCELLED.
        └────────────┴──► CANCELLING ──────────┘         SUBMITTED leads to FINISHED too: a short task is not announced.

``TABLE`` is the specification; :mod:`scaler_notebook.client.task_state.lifecycle` carries its actions out and decides
nothing. ``docs/states.md`` draws it.
"""

from enum import Enum

from .state_table import TransitionTable


class TaskState(Enum):
    """What a future knows of its task. The standard library's own state is derived from this, never the reverse."""

    SUBMITTED = "submitted"  # the engine has it, or is about to; a person reads "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"  # TaskCancel is under way, unanswered
    FINISHED = "finished"  # a value or an exception is on this machine
    CANCELLED = "cancelled"  # see CancelReason

    @property
    def terminal(self) -> bool:
        """True for FINISHED and CANCELLED."""
        return self is TaskState.FINISHED or self is TaskState.CANCELLED


class CancelReason(Enum):
    """How a cancelled task ended; the value is what a person reads."""

    STOPPED = "stopped"  # it ran, and its process is gone
    NEVER_STARTED = "never started"
    FINISHED_FIRST = "finished first"  # its result was on its way; dropped
    FAILED_FIRST = "failed first"
    NOT_FOUND = "not found"  # the engine did not know it
    DISCARDED = "discarded"  # cancelled after it had finished
    TIMED_OUT = "timed out"  # the deadline asked, and it had not finished before; its trace says how it ended
    PARENT_CANCELLED = "parent cancelled"
    DISCONNECTED = "disconnected"  # the engine went while the cancel was under way


class Event(Enum):
    """What can happen to a future."""

    STARTED = "TaskStarted"
    CANCEL_REQUESTED = "request_cancel()"
    DEADLINE = "end of its timeout"
    CONFIRM_CANCELED = "TaskCancelConfirm(Canceled)"
    CONFIRM_NOT_FOUND = "TaskCancelConfirm(CancelNotFound)"
    CONFIRM_FAILED = "TaskCancelConfirm(CancelFailed)"
    RESULT = "TaskResult"
    ENGINE_LOST = "engine lost"


class Action(Enum):
    """What the future does about an event, and the states that this may lead to; without one it stays."""

    to: tuple[TaskState, ...]

    def __new__(cls, text: str, *to: TaskState) -> "Action":
        action = object.__new__(cls)
        action._value_, action.to = text, to
        return action

    START = "start", TaskState.RUNNING
    # Of a further try; while a cancel is under way, of any: decides "stopped" or "never started", and where a refusal
    # returns to.
    REMEMBER_START = "remember start"
    REQUEST = "request", TaskState.CANCELLING  # TaskCancel is sent once
    TIME_OUT = "request, timed out", TaskState.CANCELLING  # the same; unless it is refused, this is the reason
    UPGRADE = "upgrade"  # TaskCancel is sent again if the new request is stronger
    DISCARD = "discard", TaskState.CANCELLED  # value dropped, waiters were told already
    WITHDRAW = "withdraw", TaskState.CANCELLED  # unasked: the engine withdrew the task
    CONFIRM = "confirm", TaskState.CANCELLED  # stopped or never started
    NOT_FOUND = "not found", TaskState.CANCELLED
    REFUSE = "refuse", TaskState.RUNNING, TaskState.SUBMITTED  # marked refused; ignored if weaker than what was asked
    FINISH = "finish", TaskState.FINISHED
    TOO_LATE = "too late", TaskState.CANCELLED  # finished first or failed first; payload freed
    LOSE = "lose", TaskState.FINISHED  # with EngineLostError
    DISCONNECT = "disconnect", TaskState.CANCELLED
    IGNORE = "ignore"  # a payload that came is dropped
    NOT_PERMITTED = "not permitted"  # a protocol error, logged


def _table() -> TransitionTable[TaskState, Event, Action]:
    s, e, a = TaskState, Event, Action
    columns = (s.SUBMITTED, s.RUNNING, s.CANCELLING, s.FINISHED, s.CANCELLED)
    rows = {
        e.STARTED: (a.START, a.REMEMBER_START, a.REMEMBER_START, a.IGNORE, a.IGNORE),
        e.CANCEL_REQUESTED: (a.REQUEST, a.REQUEST, a.UPGRADE, a.DISCARD, a.IGNORE),
        e.DEADLINE: (a.TIME_OUT, a.TIME_OUT, a.UPGRADE, a.IGNORE, a.IGNORE),
        e.CONFIRM_CANCELED: (a.WITHDRAW, a.WITHDRAW, a.CONFIRM, a.IGNORE, a.IGNORE),
        e.CONFIRM_NOT_FOUND: (a.NOT_PERMITTED, a.NOT_PERMITTED, a.NOT_FOUND, a.IGNORE, a.IGNORE),
        e.CONFIRM_FAILED: (a.IGNORE, a.IGNORE, a.REFUSE, a.IGNORE, a.IGNORE),
        e.RESULT: (a.FINISH, a.FINISH, a.TOO_LATE, a.NOT_PERMITTED, a.IGNORE),
        e.ENGINE_LOST: (a.LOSE, a.LOSE, a.DISCONNECT, a.IGNORE, a.IGNORE),
    }
    return TransitionTable(columns, rows)


TABLE = _table()
