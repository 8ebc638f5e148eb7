"""The future manager: which future a message belongs to, on the agent's thread."""

import logging
import weakref
from collections.abc import Sequence
from typing import Any

from typing_extensions import assert_never

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state.output import decoded
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import (
    ClientShutdownResponse,
    EngineHello,
    EngineMessage,
    EngineStatus,
    ObjectCreated,
    PreviewKind,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskDisplay,
    TaskLog,
    TaskMessage,
    TaskPreview,
    TaskProgress,
    TaskResult,
    TaskStarted,
)
from scaler_notebook.protocol.states import FutureEvent

log = logging.getLogger(__name__)

CONFIRMS = {
    TaskCancelConfirmType.CANCELED: FutureEvent.CONFIRM_CANCELED,
    TaskCancelConfirmType.CANCEL_FAILED: FutureEvent.CONFIRM_FAILED,
    TaskCancelConfirmType.CANCEL_NOT_FOUND: FutureEvent.CONFIRM_NOT_FOUND,
}


class FutureManager:
    """The unfinished futures of one connection, by task id. It alone keeps them alive if nobody else does."""

    def __init__(self) -> None:
        self._futures: dict[str, ScalerFuture[Any]] = {}
        # Ended ones of which a preview is on its way, and who waits until there is none.
        self._to_preview: weakref.WeakValueDictionary[str, ScalerFuture[Any]] = weakref.WeakValueDictionary()
        self._previewed: list[Signal] = []

    def add(self, future: ScalerFuture[Any]) -> None:
        """Before its task is posted: an answer finds it."""
        self._futures[future.task_id] = future

    def unfinished(self) -> list[ScalerFuture[Any]]:
        """A snapshot, in the order of submission."""
        return list(self._futures.values())

    def find(self, task_id: str) -> ScalerFuture[Any] | None:
        """An unfinished future, by its task's id."""
        return self._futures.get(task_id)

    def receive(self, messages: Sequence[EngineMessage]) -> None:
        """Hand each message to its future; an id leaves the table only when that has ended it."""
        for message in messages:
            if isinstance(message, EngineHello | EngineStatus | ObjectCreated | ClientShutdownResponse):
                continue  # to the connection, not to a task
            if isinstance(message, TaskPreview):
                self._preview(message)
                continue
            future = self._futures.get(message.task_id)
            if future is None:
                log.debug("%s for %s, which has ended", type(message).__name__, message.task_id)
                continue
            try:
                self.hand_over(future, message)
            except Exception as error:  # a bug of ours must not take the other messages along
                log.exception("%s for %s could not be handled", type(message).__name__, message.task_id)
                if isinstance(message, TaskResult | TaskCancelConfirm):  # no other word of its end comes
                    problem = (
                        f"the end of the task came, and could not be handled here: {type(error).__name__}: {error}"
                    )
                    future.handle(FutureEvent.ENGINE_LOST, ProtocolError(problem))
            if future.done():
                self._futures.pop(message.task_id, None)
                if isinstance(message, TaskResult) and message.summary.preview is PreviewKind.FOLLOWS:
                    self._to_preview[message.task_id] = future

    def _preview(self, message: TaskPreview) -> None:
        future = self._to_preview.pop(message.task_id, None)
        if future is not None:
            future.add_preview(decoded(message.bundle))
        if not self._to_preview:
            while self._previewed:
                self._previewed.pop().set()

    def wait_for_previews(self, timeout: float) -> None:
        """Wait until those have come that follow the results which are here, at most ``timeout`` seconds."""
        come = Signal()
        self._previewed.append(come)
        if self._to_preview:  # after that: the last may come meanwhile
            current_host().wait(come, timeout)

    @staticmethod
    def hand_over(future: ScalerFuture[Any], message: TaskMessage) -> None:
        """What a message does to its future."""
        match message:
            case TaskStarted():
                future.handle(FutureEvent.STARTED, message)
            case TaskResult():
                future.handle(FutureEvent.RESULT, message)
            case TaskCancelConfirm():
                future.handle(CONFIRMS[message.answer], message)
            case TaskLog():
                future.add_log(message)
            case TaskProgress():
                future.add_progress(message)
            case TaskDisplay():
                future.add_display(message)
            case TaskPreview():
                future.add_preview(decoded(message.bundle))
            case _:
                assert_never(message)

    def fail(self, task_id: str, error: Exception) -> None:
        """End one future: its task never reached the engine."""
        future = self._futures.pop(task_id, None)
        if future is not None:
            future.handle(FutureEvent.ENGINE_LOST, error)

    def forget(self, error: BaseException) -> None:
        """In a forked child: the futures are the parent's, and ``error`` says so."""
        futures, self._futures = self._futures, {}
        for future in futures.values():
            future.forget(error)

    def lost(self, why: BaseException | TaskResult) -> None:
        """The engine is gone: every unfinished future ends, and says so; or as the one did that has ended all."""
        while self._futures:
            _, future = self._futures.popitem()
            future.handle(FutureEvent.ENGINE_LOST, why)
