"""The future's states and the one table that moves it between them.

    SUBMITTED ──► RUNNING ──► FINISHED ──► CANCELLED (discarded)
        │            │  ▲        ▲
        └──► CANCELLING ┘        │          RUNNING comes back when the engine refuses,
                │  └─────────────┘          FINISHED never: a result after a request is CANCELLED
                └──► CANCELLED

``TABLE`` is the specification; :mod:`scaler_notebook.client.future` carries its actions out and decides nothing.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


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
    TIMED_OUT = "timed out"
    PARENT_CANCELLED = "parent cancelled"
    DISCONNECTED = "disconnected"  # the engine went while the cancel was under way


class Event(Enum):
    """What can happen to a future."""

    STARTED = "TaskStarted"
    CANCEL_REQUESTED = "request_cancel()"
    CONFIRM_CANCELED = "TaskCancelConfirm(Canceled)"
    CONFIRM_NOT_FOUND = "TaskCancelConfirm(CancelNotFound)"
    CONFIRM_FAILED = "TaskCancelConfirm(CancelFailed)"
    RESULT = "TaskResult"
    ENGINE_LOST = "engine lost"


class Action(Enum):
    """What the future does about an event; the comment gives the arrow."""

    START = "start"  # SUBMITTED → RUNNING
    REMEMBER_START = "remember start"  # stays; decides "stopped" or "never started", and where a refusal returns to
    REQUEST = "request"  # → CANCELLING, TaskCancel is sent once
    UPGRADE = "upgrade"  # stays CANCELLING; TaskCancel is sent again if the new request is stronger
    DISCARD = "discard"  # FINISHED → CANCELLED(discarded); value dropped, waiters were told already
    WITHDRAW = "withdraw"  # → CANCELLED unasked: the engine withdrew the task
    CONFIRM = "confirm"  # CANCELLING → CANCELLED(stopped or never started)
    NOT_FOUND = "not found"  # CANCELLING → CANCELLED(not found)
    REFUSE = "refuse"  # CANCELLING → RUNNING or SUBMITTED, marked refused; ignored if weaker than what was asked
    FINISH = "finish"  # → FINISHED
    TOO_LATE = "too late"  # CANCELLING → CANCELLED(finished first or failed first); payload freed
    LOSE = "lose"  # → FINISHED with EngineLostError
    DISCONNECT = "disconnect"  # CANCELLING → CANCELLED(disconnected)
    IGNORE = "ignore"
    FREE = "free"  # stays; the payload that came is freed
    NOT_PERMITTED = "not permitted"  # stays; a protocol error, logged


def _table() -> dict[tuple[TaskState, Event], Action]:
    s, e, a = TaskState, Event, Action
    columns = (s.SUBMITTED, s.RUNNING, s.CANCELLING, s.FINISHED, s.CANCELLED)
    rows = {
        e.STARTED: (a.START, a.IGNORE, a.REMEMBER_START, a.IGNORE, a.IGNORE),
        e.CANCEL_REQUESTED: (a.REQUEST, a.REQUEST, a.UPGRADE, a.DISCARD, a.IGNORE),
        e.CONFIRM_CANCELED: (a.WITHDRAW, a.WITHDRAW, a.CONFIRM, a.IGNORE, a.IGNORE),
        e.CONFIRM_NOT_FOUND: (a.NOT_PERMITTED, a.NOT_PERMITTED, a.NOT_FOUND, a.IGNORE, a.IGNORE),
        e.CONFIRM_FAILED: (a.IGNORE, a.IGNORE, a.REFUSE, a.IGNORE, a.IGNORE),
        e.RESULT: (a.FINISH, a.FINISH, a.TOO_LATE, a.NOT_PERMITTED, a.FREE),
        e.ENGINE_LOST: (a.LOSE, a.LOSE, a.DISCONNECT, a.IGNORE, a.IGNORE),
    }
    return {(state, event): row[i] for event, row in rows.items() for i, state in enumerate(columns)}


TABLE: Mapping[tuple[TaskState, Event], Action] = MappingProxyType(_table())
