"""The classes of this process that travel by value: their ids, where they are from, and which have their state.

A class that came has the state that its last sender gave it. A class that this process has defined, and that comes
back, keeps the process's own state: what others know of it is older.
"""

import contextlib
import weakref
from typing import Any

from cloudpickle import cloudpickle

_arrived: weakref.WeakSet[Any] = weakref.WeakSet()
_complete: weakref.WeakSet[Any] = weakref.WeakSet()


def class_id(cls: Any) -> str:
    """Return the id under which every process that has a class finds it again."""
    return str(cloudpickle._get_or_create_tracker_id(cls))


def known(tracker_id: str) -> Any:
    """Return the class with an id; None if this process has none."""
    return cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker_id)


def travels(cls: Any) -> bool:
    """Return whether a class has come to this process by value, or has left it so."""
    try:
        return cls in cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS
    except TypeError:  # a metaclass without a hash
        return False


def register(cls: Any, tracker_id: str) -> Any:
    """Register a class that was made from a pickle, and return the registered class of that id.

    Another thread may have made and registered the same class meanwhile; then that one is returned.

    Parameters
    ----------
    cls
        The class that was made.
    tracker_id
        The id of the class.
    """
    found = cloudpickle._lookup_class_or_track(tracker_id, cls)
    if found is cls:
        _arrived.add(cls)
    return found


def is_ours(cls: Any) -> bool:
    """Return whether this process has defined a class itself."""
    return cls not in _arrived


def mark_complete(cls: Any) -> None:
    """Mark a class as defined here, or fully loaded: from now on no result changes its state."""
    with contextlib.suppress(TypeError):  # a metaclass without a hash
        _complete.add(cls)


def is_complete(cls: Any) -> bool:
    """Return whether a class is defined here, or fully loaded."""
    try:
        return cls in _complete
    except TypeError:  # a metaclass without a hash
        return False
