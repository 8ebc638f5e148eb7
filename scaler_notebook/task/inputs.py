"""The inputs of a task, as its arguments find them while they are unpickled.

An argument that stands for an object or for another task's value is pickled as a call of :func:`take` with its id. An
engine sets the inputs of the current task: for the whole process where a task has the process to itself, else for a
thread.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.errors import MissingObjects
from scaler_notebook.protocol.messages import Payload
from scaler_notebook.protocol.pickling.loading.unpickling_context import loading_input


class _Given:
    """The inputs of one task, each unpickled when it is first used."""

    def __init__(self, inputs: Mapping[str, Payload]) -> None:
        self._inputs = inputs
        self._loaded: dict[str, Any] = {}

    def take(self, name: str) -> Any:
        if name not in self._loaded:
            if name not in self._inputs:
                raise MissingObjects(f"the object {name} is not among this task's inputs", (name,))
            with loading_input():
                self._loaded[name] = payloads.load(self._inputs[name])
        return self._loaded[name]


_NOTHING = _Given({})
_of_process = _NOTHING
_of_thread = threading.local()


def begin(inputs: Mapping[str, Payload]) -> None:
    """Set the inputs of the task that this process runs next, by id. For engines."""
    global _of_process
    _of_process = _Given(inputs) if inputs else _NOTHING


def begin_on_thread(inputs: Mapping[str, Payload]) -> None:
    """Set the inputs of the task that the calling thread runs, by id. For engines."""
    _of_thread.given = _Given(inputs)


@contextlib.contextmanager
def given_on_thread(inputs: Mapping[str, Payload]) -> Iterator[None]:
    """Set the inputs of a call that the calling thread makes within ``with``, outside of a task or within another."""
    before = getattr(_of_thread, "given", None)
    begin_on_thread(inputs)
    try:
        yield
    finally:
        _of_thread.given = before


def end() -> None:
    """Drop the inputs, whose values belong to the task alone. For engines."""
    global _of_process
    _of_process = _NOTHING
    _of_thread.given = None


def take(name: str) -> Any:
    """Return the value of an input: the same object each time within one task, and a new one in the next task.

    Raises
    ------
    MissingObjects
        The current task was not given this input: a reference was pickled by other means than as an argument.
    """
    given = getattr(_of_thread, "given", None) or _of_process
    return given.take(name)
