"""The stages of a task on its way through a Scaler cluster, as far as a client can know, and their one table.

Scaler's scheduler never says that a task has started, passes no refusal of a cancel on, and drops a cancel while
another one is on its way to the worker (2.9, ``scheduler/controllers/task_controller.py``). So

- the task itself says that it has started (:mod:`scaler_notebook.engines.scaler.wire.inband_events`);
- of a task that is not known to have started a cancel asks without force first: Scaler confirms that only for what
  waits in a queue, so *never started* is known and no guess. A refusal shows in the start, or in silence;
- what the scheduler may have dropped is said again until there is an answer.

What runs is asked through its :mod:`scaler_notebook.engines.scaler.worker.mailbox`, and after its grace period Scaler's
cancel with force ends its process.
"""

from enum import Enum, unique

from scaler_notebook.protocol.state_table import TransitionTable


class Stage(Enum):
    """Where a task is."""

    WAITING = "waiting for inputs"
    LEAVING = "on its way"  # its arguments are
    THERE = "at the cluster"  # queued there, or about to start
    BACKING_OFF = "backing off"
    RUNNING = "running"
    RECALLED = "recalled"  # asked for what waits in a queue; the grace period runs
    RECALLED_FORCE = "recalled, force"
    ASKED = "asked"  # by its mailbox; the grace period runs
    WARNED = "warned"  # the same, by a request with force
    ENDING = "ending"  # Scaler's cancel with force is sent
    COMING = "its result comes"
    OVER = "over"


class Event(Enum):
    """What can happen to a task."""

    INPUTS_THERE = "inputs there"
    INPUT_FAILED = "an input failed"
    INPUT_CANCELLED = "an input was cancelled"
    SENT = "sent"
    UNSENDABLE = "cannot be sent"
    STARTED = "it says that it has started"  # more than once, if its worker is lost: Scaler runs it again
    CANCEL = "TaskCancel"
    CANCEL_FORCE = "TaskCancel(force)"
    GRACE_OVER = "end of the grace period"  # or there is no mailbox to ask by
    STOPPED = "it says that it was stopped"
    CANCELED = "Canceled"  # Scaler's own
    NOT_FOUND = "CancelNotFound"
    RESULT = "TaskResult"  # Scaler's own
    FETCHED = "result fetched"
    FAILED = "failure fetched, tries left"
    BACKOFF_OVER = "end of the back-off"


@unique
class Action(Enum):
    """What to do about an event, and the stage that this leads to; without one the task stays."""

    to: tuple[Stage, ...]

    def __new__(cls, text: str, *to: Stage) -> "Action":
        action = object.__new__(cls)
        action._value_, action.to = text, to
        return action

    SEND = "send its arguments", Stage.LEAVING
    PASS_ON = "send TaskResult(Failed)", Stage.OVER  # an input's, as its own
    WITHDRAW = "confirm Canceled, unasked", Stage.OVER
    NOTE = "the cluster has it", Stage.THERE
    ANNOUNCE = "send TaskStarted", Stage.RUNNING
    ANNOUNCE_LATE = "send TaskStarted only"
    TAKE_BACK = "take back, confirm Canceled", Stage.OVER
    RECALL = "cancel without force, again and again", Stage.RECALLED
    RECALL_FORCE = "the same, in the end with force", Stage.RECALLED_FORCE
    ASK = "ask by its mailbox, in the end refuse", Stage.ASKED
    WARN = "ask by its mailbox, in the end end it", Stage.WARNED
    ANNOUNCE_ASK = "send TaskStarted, ask, in the end refuse", Stage.ASKED
    ANNOUNCE_WARN = "send TaskStarted, ask, in the end end it", Stage.WARNED
    REFUSE_THERE = "answer CancelFailed", Stage.THERE
    REFUSE = "answer CancelFailed; it runs", Stage.RUNNING
    END = "cancel with force, again and again", Stage.ENDING
    CONFIRM = "confirm Canceled", Stage.OVER
    CONFIRM_ENDED = "confirm Canceled; if it has not said that it has started, it may have", Stage.OVER
    NOT_FOUND = "answer CancelNotFound", Stage.OVER
    LOSE = "send TaskResult(Failed): Scaler has dropped its result", Stage.OVER
    FETCH = "fetch the result", Stage.COMING
    DELIVER = "send TaskResult", Stage.OVER
    BACK_OFF = "back off", Stage.BACKING_OFF
    IGNORE = "ignore"
    NOT_PERMITTED = "not permitted"  # a bug of ours, or of the cluster's; logged


def _table() -> TransitionTable[Stage, Event, Action]:
    s, e, a = Stage, Event, Action
    no, ig = a.NOT_PERMITTED, a.IGNORE
    columns = (
        s.WAITING,
        s.LEAVING,
        s.THERE,
        s.BACKING_OFF,
        s.RUNNING,
        s.RECALLED,
        s.RECALLED_FORCE,
        s.ASKED,
        s.WARNED,
        s.ENDING,
        s.COMING,
    )
    tb, conf, fetch = a.TAKE_BACK, a.CONFIRM, a.FETCH
    rows = {
        e.INPUTS_THERE: (a.SEND, no, no, no, no, no, no, no, no, no, no),
        e.INPUT_FAILED: (a.PASS_ON, no, no, no, no, no, no, no, no, no, no),
        e.INPUT_CANCELLED: (a.WITHDRAW, no, no, no, no, no, no, no, no, no, no),
        e.SENT: (no, a.NOTE, no, no, no, no, no, no, no, no, no),
        e.UNSENDABLE: (no, a.PASS_ON, no, no, no, no, no, no, no, no, no),
        e.STARTED: (
            *(no, no, a.ANNOUNCE, no, a.ANNOUNCE, a.ANNOUNCE_ASK, a.ANNOUNCE_WARN),
            *(a.ANNOUNCE_ASK, a.ANNOUNCE_WARN, a.ANNOUNCE_LATE, ig),
        ),
        e.CANCEL: (tb, tb, a.RECALL, tb, a.ASK, ig, ig, ig, ig, ig, ig),
        e.CANCEL_FORCE: (tb, tb, a.RECALL_FORCE, tb, a.WARN, a.RECALL_FORCE, ig, a.WARN, ig, ig, ig),
        e.GRACE_OVER: (no, no, no, no, no, a.REFUSE_THERE, a.END, a.REFUSE, a.END, no, no),
        e.STOPPED: (no, no, no, no, a.END, a.END, a.END, a.END, a.END, ig, ig),
        e.CANCELED: (no, no, a.WITHDRAW, no, a.WITHDRAW, conf, conf, conf, conf, a.CONFIRM_ENDED, ig),
        e.NOT_FOUND: (no, no, a.LOSE, no, a.LOSE, *(a.NOT_FOUND,) * 5, ig),
        e.RESULT: (no, no, fetch, no, fetch, fetch, fetch, fetch, fetch, fetch, no),
        e.FETCHED: (no, no, no, no, no, no, no, no, no, no, a.DELIVER),
        e.FAILED: (no, no, no, no, no, no, no, no, no, no, a.BACK_OFF),
        e.BACKOFF_OVER: (no, no, no, a.SEND, no, no, no, no, no, no, no),
    }
    return TransitionTable(columns, rows)


TABLE = _table()
