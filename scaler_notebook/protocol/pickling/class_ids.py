"""Classes by their ids, and which of them came here by value.

A class that came is as its last sender had it. One that this process has defined itself, and that comes back, is the
process's own: what others know of its state is older.
"""

import weakref
from typing import Any

from cloudpickle import cloudpickle

_arrived: weakref.WeakSet[Any] = weakref.WeakSet()


def class_id(cls: Any) -> str:
    """The id under which a class is found again in each process that has it."""
    return str(cloudpickle._get_or_create_tracker_id(cls))


def known(tracker_id: str) -> Any:
    """The class with an id; None if this process has none."""
    return cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker_id)


def register(cls: Any, tracker_id: str) -> Any:
    """Note a class that was made of what came; give that with the same id which another thread has made meanwhile."""
    found = cloudpickle._lookup_class_or_track(tracker_id, cls)
    if found is cls:
        _arrived.add(cls)
    return found


def is_ours(cls: Any) -> bool:
    """Has this process defined a class itself?"""
    return cls not in _arrived
