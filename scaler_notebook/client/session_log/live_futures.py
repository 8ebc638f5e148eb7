"""Every future of this process, for views of the whole session."""

import threading
import weakref
from typing import Any, Protocol

from scaler_notebook import forks
from scaler_notebook.client.futures.future import ScalerFuture


class Submitted(Protocol):
    """Holds futures whose tasks have not reached the agent yet."""

    def futures(self) -> list[ScalerFuture[Any]]:
        """Those of now."""


class Listener(Protocol):
    """Wants to know of new futures."""

    def add(self, future: ScalerFuture[Any]) -> None:
        """There is a new one. On the thread that submits: it must not block."""


_living: "weakref.WeakValueDictionary[str, ScalerFuture[Any]]" = weakref.WeakValueDictionary()
_listeners: "tuple[weakref.ref[Listener], ...]" = ()
_changing = threading.Lock()
_submitted: "weakref.WeakSet[Submitted]" = weakref.WeakSet()  # where futures are before they are here


@forks.after_fork_in_child
def _forget() -> None:
    """Views are the parent's, and so are the futures; but the child may still hold some, and ask them."""
    global _listeners, _changing
    _listeners, _changing = (), threading.Lock()
    for future in living():
        future.forget_lock()


def add(future: ScalerFuture[Any]) -> None:
    """A future that was just made; before its task is sent."""
    _living[future.task_id] = future
    for reference in _listeners:
        listener = reference()
        if listener is not None:
            listener.add(future)


def living() -> list[ScalerFuture[Any]]:
    """Those that run or that somebody holds, in the order of submission."""
    known = [future for reference in _living.valuerefs() if (future := reference()) is not None]
    on_their_way = [future for submitted in list(_submitted) for future in submitted.futures()]
    ids = {future.task_id for future in known}
    return known + [future for future in on_their_way if future.is_listed and future.task_id not in ids]


def follow(submitted: Submitted) -> None:
    """Count what is on its way to an agent among the living, for as long as somebody else holds the mailbox."""
    _submitted.add(submitted)


def listen(listener: Listener) -> None:
    """Tell ``listener`` of new futures, for as long as somebody else holds it."""
    global _listeners
    with _changing:
        _listeners = (*(r for r in _listeners if r() is not None), weakref.ref(listener))


def unlisten(listener: Listener) -> None:
    """End a :func:`listen`."""
    global _listeners
    with _changing:
        _listeners = tuple(r for r in _listeners if r() not in (listener, None))
