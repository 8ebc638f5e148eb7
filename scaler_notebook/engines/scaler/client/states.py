"""The stages of a task on its way through a Scaler cluster, as far as its client can know, and their transition table.

Scaler's scheduler (2.9, ``scheduler/controllers/task_controller.py``) never reports that a task has started, does not
forward a refused cancel, and drops a cancel while another one is on its way to the worker. Therefore

- the task itself reports its start (:mod:`scaler_notebook.engines.scaler.wire.inband_events`);
- a task that is not known to have started is first cancelled without force. Scaler confirms that only for a task that
  waits in a queue, so *never started* is known and not guessed. A refusal shows as a reported start, or as silence;
- a cancel that the scheduler may have dropped is sent again until it is answered.

A running task is asked to stop by a cancel request to the mailbox of its process
(:mod:`scaler_notebook.engines.scaler.worker.cancel_mailbox`). After the grace period Scaler's cancel with force ends
that process.
"""

from enum import Enum, unique

from scaler_notebook.engines.scheduling import task_events
from scaler_notebook.protocol.state_table import TransitionTable

from . import events
from .events import ScalerEvent


class ScalerStage(Enum):
    """The stages of a task."""

    WAITING = "waiting for inputs"
    SENDING = "sending"  # the arguments are being stored
    AT_CLUSTER = "at the cluster"  # queued, or about to start
    BACKING_OFF = "backing off"
    RUNNING = "running"
    RECALLED = "recalled"  # a cancel for queued tasks is sent; the grace period runs
    RECALLED_FORCE = "recalled, force"
    CANCEL_REQUESTED = "cancel requested"  # a cancel request is in the mailbox; the grace period runs
    CANCEL_REQUESTED_FORCE = "cancel requested, force"  # the same, for a request with force
    ENDING = "ending"  # Scaler's cancel with force is sent
    FETCHING = "fetching the result"
    OVER = "over"


@unique
class ScalerAction(Enum):
    """The actions on an event, each with the stage that it leads to; an action without a stage leads nowhere."""

    to: tuple[ScalerStage, ...]

    def __new__(cls, text: str, *to: ScalerStage) -> "ScalerAction":
        """Make an action.

        Parameters
        ----------
        text
            The value: the action in words.
        *to
            The stage that the action leads to, if any.
        """
        action = object.__new__(cls)
        action._value_, action.to = text, to
        return action

    SEND = "send the arguments", ScalerStage.SENDING
    PASS_ON = "send TaskResult(Failed)", ScalerStage.OVER  # the failure of an input, or of sending
    WITHDRAW = "confirm Canceled, unasked", ScalerStage.OVER
    NOTE = "note that the cluster has the task", ScalerStage.AT_CLUSTER
    ANNOUNCE = "send TaskStarted", ScalerStage.RUNNING
    ANNOUNCE_LATE = "send TaskStarted only"
    TAKE_BACK = "take back, confirm Canceled", ScalerStage.OVER
    RECALL = "cancel without force, repeatedly", ScalerStage.RECALLED
    RECALL_FORCE = "cancel without force, in the end with force", ScalerStage.RECALLED_FORCE
    REQUEST_STOP = "send a cancel request; at the end of the grace period refuse", ScalerStage.CANCEL_REQUESTED
    REQUEST_STOP_FORCE = (
        "send a cancel request; at the end of the grace period cancel with force",
        ScalerStage.CANCEL_REQUESTED_FORCE,
    )
    ANNOUNCE_REQUEST_STOP = (
        "send TaskStarted and a cancel request; at the end of the grace period refuse",
        ScalerStage.CANCEL_REQUESTED,
    )
    ANNOUNCE_REQUEST_STOP_FORCE = (
        "send TaskStarted and a cancel request; at the end of the grace period cancel with force",
        ScalerStage.CANCEL_REQUESTED_FORCE,
    )
    REFUSE_AT_CLUSTER = "answer CancelFailed", ScalerStage.AT_CLUSTER
    REFUSE = "answer CancelFailed; the task runs", ScalerStage.RUNNING
    END = "cancel with force, repeatedly", ScalerStage.ENDING
    CONFIRM = "confirm Canceled", ScalerStage.OVER
    CONFIRM_ENDED = "confirm Canceled; a start that was not reported is presumed", ScalerStage.OVER
    NOT_FOUND = "answer CancelNotFound", ScalerStage.OVER
    LOSE = "send TaskResult(Failed): Scaler has dropped the result", ScalerStage.OVER
    FETCH = "fetch the result", ScalerStage.FETCHING
    DELIVER = "send TaskResult", ScalerStage.OVER
    BACK_OFF = "back off", ScalerStage.BACKING_OFF
    IGNORE = "ignore"
    NOT_PERMITTED = "not permitted"  # a bug of this package or of the cluster; logged


def _table() -> TransitionTable[ScalerStage, type[ScalerEvent], ScalerAction]:
    s, e, a = ScalerStage, events, ScalerAction
    no, ig = a.NOT_PERMITTED, a.IGNORE
    columns = (
        s.WAITING,
        s.SENDING,
        s.AT_CLUSTER,
        s.BACKING_OFF,
        s.RUNNING,
        s.RECALLED,
        s.RECALLED_FORCE,
        s.CANCEL_REQUESTED,
        s.CANCEL_REQUESTED_FORCE,
        s.ENDING,
        s.FETCHING,
    )
    tb, conf, fetch = a.TAKE_BACK, a.CONFIRM, a.FETCH
    rows: dict[type[ScalerEvent], tuple[ScalerAction, ...]] = {
        task_events.InputsAvailable: (a.SEND, no, no, no, no, no, no, no, no, no, no),
        task_events.InputFailed: (a.PASS_ON, no, no, no, no, no, no, no, no, no, no),
        task_events.InputCancelled: (a.WITHDRAW, no, no, no, no, no, no, no, no, no, no),
        e.Sent: (no, a.NOTE, no, no, no, no, no, no, no, no, no),
        e.Unsendable: (no, a.PASS_ON, no, no, no, no, no, no, no, no, no),
        e.StartReported: (
            *(no, no, a.ANNOUNCE, no, a.ANNOUNCE, a.ANNOUNCE_REQUEST_STOP, a.ANNOUNCE_REQUEST_STOP_FORCE),
            *(a.ANNOUNCE_REQUEST_STOP, a.ANNOUNCE_REQUEST_STOP_FORCE, a.ANNOUNCE_LATE, ig),
        ),
        e.StopRequested: (tb, tb, a.RECALL, tb, a.REQUEST_STOP, ig, ig, ig, ig, ig, ig),
        e.StopForced: (
            tb,
            tb,
            a.RECALL_FORCE,
            tb,
            a.REQUEST_STOP_FORCE,
            a.RECALL_FORCE,
            ig,
            a.REQUEST_STOP_FORCE,
            ig,
            ig,
            ig,
        ),
        task_events.GraceOver: (no, no, no, no, no, a.REFUSE_AT_CLUSTER, a.END, a.REFUSE, a.END, no, no),
        e.StopReported: (no, no, no, no, a.END, a.END, a.END, a.END, a.END, ig, ig),
        e.CancelConfirmed: (no, no, a.WITHDRAW, no, a.WITHDRAW, conf, conf, conf, conf, a.CONFIRM_ENDED, ig),
        e.CancelNotFound: (no, no, a.LOSE, no, a.LOSE, *(a.NOT_FOUND,) * 5, ig),
        e.ResultAvailable: (no, no, fetch, no, fetch, fetch, fetch, fetch, fetch, fetch, no),
        e.ResultFetched: (no, no, no, no, no, no, no, no, no, no, a.DELIVER),
        e.FailureFetched: (no, no, no, no, no, no, no, no, no, no, a.BACK_OFF),
        task_events.BackoffOver: (no, no, no, a.SEND, no, no, no, no, no, no, no),
    }
    return TransitionTable(columns, rows)


TABLE = _table()
