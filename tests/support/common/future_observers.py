"""What a future shows, and whom it tells: its own queries against each other, and followers that count."""

from __future__ import annotations

import threading
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, RUNNING, _Waiter
from typing import Any

from waits import SAFETY

from scaler_notebook import ScalerFuture, TaskState
from scaler_notebook.client.waiting import callback_thread

S = TaskState

# "The future's states": running(), done(), cancelled(), and the standard library's own state, which is derived.
DERIVED = {
    S.SUBMITTED: (True, False, False, RUNNING),
    S.RUNNING: (True, False, False, RUNNING),
    S.CANCELLING: (True, False, False, RUNNING),
    S.FINISHED: (False, True, False, FINISHED),
    S.CANCELLED: (False, True, True, CANCELLED_AND_NOTIFIED),
}
ONE_TRUTH = "One enum is the truth; concurrent.futures' own state is derived from it"


def check_derived(future: ScalerFuture[Any]) -> None:
    """Whatever its state is, everything else that it says agrees with it."""
    shown = (future.running(), future.done(), future.cancelled(), future._state)
    assert shown == DERIVED[future.state], ONE_TRUTH
    assert (future.cancel_reason is not None) == (future.state is S.CANCELLED), "CANCELLED(reason)"


class Told(_Waiter):
    """Stands where ``wait`` and ``as_completed`` put theirs; counts."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def add_result(self, future: Any) -> None:
        self.calls.append("result")

    def add_exception(self, future: Any) -> None:
        self.calls.append("exception")

    def add_cancelled(self, future: Any) -> None:
        assert future._state == CANCELLED_AND_NOTIFIED, "told with the standard's CANCELLED_AND_NOTIFIED"
        self.calls.append("cancelled")


class Followers:
    """Everybody who can wait for a future, and what they were told."""

    def __init__(self, future: ScalerFuture[Any]) -> None:
        self._future = future
        self.waiter = Told()
        self.states = [future.state]
        self.callbacks = self.late = 0  # how many, and how many of them after the end
        self.called: list[tuple[str, bool]] = []
        self.calls = threading.Semaphore(0)
        with future._condition:
            self.waits = not future.done()  # who comes afterwards does not wait
            future._waiters.append(self.waiter)
        future.watch(self._look)
        self.add_callback()

    def add_callback(self) -> None:
        self.callbacks += 1
        self.late += self._future.done()
        self._future.add_done_callback(self._called)

    def _called(self, future: Any) -> None:
        self.called.append((threading.current_thread().name, future.done()))
        self.calls.release()

    def _look(self, future: Any) -> None:
        if future.state is not self.states[-1]:
            self.states.append(future.state)


def callbacks_done() -> None:
    """What was posted to the callback thread before has run."""
    reached = threading.Event()
    callback_thread.post(reached.set)
    assert reached.wait(SAFETY)
