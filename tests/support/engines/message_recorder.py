"""Taps between clients and engines: which messages pass in which order, and which threads have come to wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

from waits import SAFETY

from scaler_notebook import ScalerFuture
from scaler_notebook.client.agent.future_manager import FutureManager
from scaler_notebook.client.session.session import Session
from scaler_notebook.client.waiting.host import PlainHost
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.protocol.messages import (
    EngineHello,
    EngineMessage,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskResult,
    TaskResultType,
    TaskStarted,
)


def no_delay() -> None:
    """Requests leave at once."""


class Wire:
    """Records what passes between clients and engines, by task: the letters as the clients see them."""

    ANSWERS: ClassVar = {
        TaskCancelConfirmType.CANCELED: "A",
        TaskCancelConfirmType.CANCEL_FAILED: "F",
        TaskCancelConfirmType.CANCEL_NOT_FOUND: "N",
    }

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._letters: dict[str, str] = {}
        self.before_cancel: Callable[[], None] = no_delay  # called by the thread that is to send one

    def tap(self, patch: Callable[[object, str, object], None]) -> None:
        """Put the recorder in; ``patch`` is pytest's ``monkeypatch.setattr``."""
        receive, send_cancel = FutureManager.receive, Session.send_cancel

        def received(manager: FutureManager, messages: Sequence[EngineMessage]) -> None:
            try:
                receive(manager, messages)
            finally:
                for message in messages:
                    if not isinstance(message, EngineHello):
                        self._note(cast(Any, message).task_id, self._letter(message))

        def sent(session: Session, request: TaskCancel) -> None:
            self.before_cancel()
            self._note(request.task_id, "C")
            send_cancel(session, request)

        patch(FutureManager, "receive", received)
        patch(Session, "send_cancel", sent)

    def of(self, future: ScalerFuture[Any]) -> str:
        """The order in which a future's messages were, so far."""
        return self._letters.get(future.task_id, "")

    def wait_for(self, future: ScalerFuture[Any], letters: str) -> None:
        """Wait until it was ``letters``."""
        with self._condition:
            came = self._condition.wait_for(lambda: len(self.of(future)) >= len(letters), SAFETY)
        assert came, f"{letters} was to come, {self.of(future)} came: {future}, {future.logs}"
        assert self.of(future).startswith(letters), f"{letters} was to come, {self.of(future)} came"

    def _note(self, task_id: str, letter: str) -> None:
        with self._condition:
            self._letters[task_id] = self._letters.get(task_id, "") + letter
            self._condition.notify_all()

    def _letter(self, message: EngineMessage) -> str:
        match message:
            case TaskStarted():
                return "S"
            case TaskResult():
                return "R" if message.outcome is TaskResultType.SUCCESS else "X"
            case TaskCancelConfirm():
                return self.ANSWERS[message.answer]
        return ""


class CountingHost(PlainHost):
    """Tells when a thread has come to wait."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)

    def wait(self, signal: Signal, timeout: float | None) -> bool:
        self.entered.release()
        return super().wait(signal, timeout)
