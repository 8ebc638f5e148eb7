"""Every live future of this process, for views of the whole session."""

import threading
import weakref
from typing import Any, Protocol

from scaler_notebook import forks
from scaler_notebook.client.futures.future import ScalerFuture


class PendingFutures(Protocol):
    """A queue of futures whose tasks have not reached the agent yet."""

    def futures(self) -> list[ScalerFuture[Any]]:
        """Return the futures in the queue now."""


class Subscriber(Protocol):
    """A subscriber to new futures."""

    def add(self, future: ScalerFuture[Any]) -> None:
        """Take a new future. Called on the thread that submits: must not block."""


# Keys alone, the oldest first. What takes a key out when its future is gone is no Python code: Python drops the
# interrupt of a stop button that comes within the callback of a weak reference.
_living: "dict[weakref.ref[ScalerFuture[Any]], None]" = {}
_subscribers: "tuple[weakref.ref[Subscriber], ...]" = ()
_changing = threading.Lock()
_pending: "weakref.WeakSet[PendingFutures]" = weakref.WeakSet()  # queues of futures that are not registered yet


@forks.after_fork_in_child
def _forget() -> None:
    """In a forked child: drop the subscribers, which are the parent's views, and free the futures' locks."""
    global _subscribers, _changing
    _subscribers, _changing = (), threading.Lock()
    for future in living():
        future.forget_lock()


def add(future: ScalerFuture[Any]) -> None:
    """Add a future that was just made, before its task is sent."""
    _living[weakref.ref(future, _living.pop)] = None
    for reference in _subscribers:
        subscriber = reference()
        if subscriber is not None:
            subscriber.add(future)


def living() -> list[ScalerFuture[Any]]:
    """Return the futures that run or that somebody holds, in the order of submission."""
    known = [future for reference in list(_living) if (future := reference()) is not None]
    ids = {future.task_id for future in known}
    return known + [future for future in on_their_way() if future.task_id not in ids]


def on_their_way() -> list[ScalerFuture[Any]]:
    """Return the futures that no subscriber has been notified of yet, for their tasks have not reached the agent."""
    return [future for pending in list(_pending) for future in pending.futures() if future.is_listed]


def track(pending: PendingFutures) -> None:
    """Count the futures of a queue among the living, for as long as somebody else holds the queue."""
    _pending.add(pending)


def subscribe(subscriber: Subscriber) -> None:
    """Notify ``subscriber`` of new futures, for as long as somebody else holds it."""
    global _subscribers
    with _changing:
        _subscribers = (*(r for r in _subscribers if r() is not None), weakref.ref(subscriber))


def unsubscribe(subscriber: Subscriber) -> None:
    """End a subscription."""
    global _subscribers
    with _changing:
        _subscribers = tuple(r for r in _subscribers if r() not in (subscriber, None))
