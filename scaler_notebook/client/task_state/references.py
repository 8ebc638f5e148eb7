"""References and futures in a task's arguments: each stands for a value that is somewhere else.

Within the arguments of a task, however deep, either is pickled as :func:`scaler_notebook.task.inputs.take` with its
id, and collected as an input of the task.
"""

import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from scaler_notebook.task import inputs

_pickling = threading.local()


class TaskInput(Protocol):
    """Something that is sent as the id of the value that it stands for."""

    @property
    def input_id(self) -> str:
        """The id of the value."""


TaskInputs: TypeAlias = dict[str, TaskInput]


class ObjectReference:
    """An object that was sent to the engine; made by ``send_object``.

    A reference may stand anywhere in the arguments of later tasks of the same client, also inside containers and in
    what a function closes over; the task finds the object in its place. ``clear()`` makes the reference useless.

    Parameters
    ----------
    name
        What a person reads of the object.
    size
        Of the pickled object, in bytes.
    object_id
        The id that the engine knows the object by.
    proxies
        The proxies of managers in the object: held as long as the reference is, by the session and by each task that
        gets the object.
    """

    __slots__ = ("__weakref__", "_proxies", "name", "object_id", "size")

    def __init__(self, name: str, size: int, object_id: str, proxies: tuple[Any, ...] = ()) -> None:
        self.name = name
        self.size = size
        self.object_id = object_id
        self._proxies = proxies

    @property
    def input_id(self) -> str:
        """The reference's id among the inputs of a task."""
        return self.object_id

    def __repr__(self) -> str:
        return f"ObjectReference(name={self.name!r}, size={self.size} bytes, id={self.object_id!r})"

    def __eq__(self, other: object) -> bool:
        return self.object_id == other.object_id if isinstance(other, ObjectReference) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.object_id)

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return reduce_as_input(self, f"the reference to {self.name}")


class collect_inputs:  # used as a function is
    """Collect, by id, the references and futures that are pickled within the ``with`` block.

    For the current thread. Outside of such a block a reference or a future cannot be pickled.
    """

    __slots__ = ("_before",)

    def __enter__(self) -> TaskInputs:
        """Return the dictionary that collects them."""
        self._before: TaskInputs | None = getattr(_pickling, "found", None)
        found: TaskInputs = {}
        _pickling.found = found
        return found

    def __exit__(self, *_: object) -> None:
        _pickling.found = self._before


def reduce_as_input(what: TaskInput, name: str) -> tuple[Callable[[str], Any], tuple[str]]:
    """Return the ``__reduce__`` value of a reference or a future, and collect it as an input of the task.

    Parameters
    ----------
    what
        The reference or the future.
    name
        How a person reads it, for messages.

    Raises
    ------
    TypeError
        No task is being submitted on this thread.
    """
    found: TaskInputs | None = getattr(_pickling, "found", None)
    if found is None:
        raise TypeError(
            f"{name} can be pickled only within the arguments of a task; elsewhere (in a file, in a task's result) it "
            "would be the name of something that may be gone"
        )
    found[what.input_id] = what
    return inputs.take, (what.input_id,)
