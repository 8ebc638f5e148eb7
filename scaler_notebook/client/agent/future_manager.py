"""The future manager: finds the future that each of the engine's messages belongs to, on the agent's thread."""

import logging
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state.output import decoded
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.signal import Waiters
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.future_events import (
    CancelGranted,
    CancelRefused,
    EngineGone,
    FutureEvent,
    ResultArrived,
    StartAnnounced,
    TaskUnknown,
)
from scaler_notebook.protocol.messages import (
    ClientShutdownResponse,
    EngineHello,
    EngineMessage,
    EngineStatus,
    EngineTasks,
    ObjectCreated,
    PreviewKind,
    TaskAttemptFailed,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskDisplay,
    TaskItem,
    TaskLog,
    TaskMessage,
    TaskNested,
    TaskPreview,
    TaskProgress,
    TaskResult,
    TaskStarted,
)

from .outgoing_queue import OutgoingQueue
from .output_printer import OutputPrinter

if sys.version_info >= (3, 11):
    from typing import assert_never
else:
    from typing_extensions import assert_never

log = logging.getLogger(__name__)

# Addressed to the connection, not to a task. A tuple: to make a union for each message takes longer than to compare.
TO_CONNECTION = EngineHello, EngineStatus, EngineTasks, ObjectCreated, ClientShutdownResponse

CONFIRMS: dict[TaskCancelConfirmType, Callable[[TaskCancelConfirm], FutureEvent]] = {
    TaskCancelConfirmType.CANCELED: CancelGranted,
    TaskCancelConfirmType.CANCEL_FAILED: CancelRefused,
    TaskCancelConfirmType.CANCEL_NOT_FOUND: TaskUnknown,
}


class FutureManager:
    """The unfinished futures of one connection. Nothing else keeps them alive if the user does not.

    Parameters
    ----------
    outgoing
        The queue of tasks on their way to the agent, whose futures are unfinished, too.
    printer
        Prints what tasks write; None: nothing is printed.
    """

    def __init__(self, outgoing: OutgoingQueue[ScalerFuture[Any]], printer: OutputPrinter | None = None) -> None:
        self._outgoing = outgoing
        self._printer = printer
        self._futures: dict[str, ScalerFuture[Any]] = {}  # whose tasks were sent, by task id
        # Ended futures whose previews are on their way, and those who wait for the previews.
        self._to_preview: weakref.WeakValueDictionary[str, ScalerFuture[Any]] = weakref.WeakValueDictionary()
        self._preview_waiters = Waiters()
        # Ended futures whose tasks have submitted others, which may go on.
        self._with_nested: weakref.WeakValueDictionary[str, ScalerFuture[Any]] = weakref.WeakValueDictionary()

    def add(self, future: ScalerFuture[Any]) -> None:
        """Add a future, before its task is posted: the task's first answer finds the future."""
        self._futures[future.task_id] = future

    def unfinished(self) -> list[ScalerFuture[Any]]:
        """Return the unfinished futures, in the order of submission."""
        on_their_way = self._outgoing.futures()  # read first: futures go from there to the table
        return list({each.task_id: each for each in (*self._futures.values(), *on_their_way)}.values())

    def find(self, task_id: str) -> ScalerFuture[Any] | None:
        """Return the unfinished future of a task that was sent; None if there is none."""
        return self._futures.get(task_id)

    def receive(self, messages: Sequence[EngineMessage]) -> None:
        """Dispatch each message to its future. A future leaves the table only when a message has ended it."""
        for message in messages:
            if isinstance(message, TO_CONNECTION):
                continue
            try:
                self._receive(message)
            except Exception:  # a bug of ours must not take the other messages along
                log.exception("%s for %s could not be handled to its end", type(message).__name__, message.task_id)

    def _receive(self, message: TaskMessage) -> None:
        """Dispatch a message to its future, and see to what follows."""
        if isinstance(message, TaskPreview):
            self._preview(message)
            return
        future = self._futures.get(message.task_id)
        if future is None and isinstance(message, TaskNested):
            future = self._with_nested.get(message.task_id)
        if future is None:
            log.debug("%s for %s, which has ended", type(message).__name__, message.task_id)
            return
        try:
            self.dispatch(future, message)
        except Exception as error:
            log.exception("%s for %s could not be handled", type(message).__name__, message.task_id)
            if isinstance(message, TaskResult | TaskCancelConfirm):  # no other message ends the task
                problem = f"the end of the task came, and could not be handled here: {type(error).__name__}: {error}"
                future.handle(EngineGone(ProtocolError(problem)))
        if future.done():
            self._futures.pop(message.task_id, None)
            if future.nested:
                self._with_nested[message.task_id] = future
            if isinstance(message, TaskResult) and message.summary.preview is PreviewKind.FOLLOWS:
                self._to_preview[message.task_id] = future
        if self._printer is not None:
            if isinstance(message, TaskLog):
                self._printer.add(future, message)
            if future.done():
                self._printer.end(future)

    def _preview(self, message: TaskPreview) -> None:
        """Give a preview to the ended future that waits for it."""
        future = self._to_preview.pop(message.task_id, None)
        if future is not None:
            future.add_preview(decoded(message.bundle))
        if not self._to_preview:
            self._preview_waiters.wake()

    def wait_for_previews(self, timeout: float) -> None:
        """Wait until the previews have come that follow results which are here.

        Parameters
        ----------
        timeout
            Seconds to wait at most.
        """
        come = self._preview_waiters.add()
        if self._to_preview:  # checked after that: the last may come meanwhile
            current_host().wait(come, timeout)

    @staticmethod
    def dispatch(future: ScalerFuture[Any], message: TaskMessage) -> None:
        """Apply a message to its future.

        Parameters
        ----------
        future
            The future of the message's task.
        message
            The engine's message.
        """
        match message:
            case TaskStarted():
                future.handle(StartAnnounced(message))
            case TaskResult():
                future.handle(ResultArrived(message))
            case TaskCancelConfirm():
                future.handle(CONFIRMS[message.answer](message))
            case TaskAttemptFailed():
                future.add_failed_try(message)
            case TaskLog():
                future.add_log(message)
            case TaskProgress():
                future.add_progress(message)
            case TaskDisplay():
                future.add_display(message)
            case TaskItem():
                future.add_item(message)
            case TaskNested():
                future.add_nested(message)
            case TaskPreview():
                future.add_preview(decoded(message.bundle))
            case _:
                assert_never(message)

    def fail(self, task_id: str, error: Exception) -> None:
        """End one future whose task never reached the engine.

        Parameters
        ----------
        task_id
            The task's id.
        error
            The error that the future ends with.
        """
        future = self._futures.pop(task_id, None)
        if future is not None:
            future.handle(EngineGone(error))

    def forget(self, error: BaseException) -> None:
        """In a forked child: end the futures, which are the parent's, with an error that says so."""
        futures, self._futures = self._futures, {}
        for future in (*futures.values(), *self._outgoing.futures()):
            future.forget(error)

    def fail_all(self, why: BaseException | TaskResult) -> None:
        """End every unfinished future, for the engine is gone or one task's result has ended all.

        Parameters
        ----------
        why
            The error that the futures end with, or the result that has ended all.
        """
        while self._futures:
            _, future = self._futures.popitem()
            future.handle(EngineGone(why))
        for future in self._outgoing.futures():
            future.handle(EngineGone(why))
