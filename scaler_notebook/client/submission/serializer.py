"""Serializers of the user's own for functions, arguments and results, with OpenGRIS Scaler's interface."""

import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.client.task_state.references import ObjectReference
from scaler_notebook.protocol import payloads


class Serializer(ABC):
    """How values become bytes, and bytes values again. Subclass it and give an instance to ``Client(serializer=…)``.

    ``serialize`` is called for the function of a task and for each of its arguments here, and for its result in the
    task; ``deserialize`` the other way round. The bytes travel as they are.
    """

    @staticmethod
    @abstractmethod
    def serialize(obj: Any) -> bytes:
        """Return the bytes of a function, an argument or a result."""

    @staticmethod
    @abstractmethod
    def deserialize(payload: bytes) -> Any:
        """Return the value whose bytes :meth:`serialize` has returned."""


class DefaultSerializer(Serializer):
    """The serializer where no other is given: pickle, and cloudpickle for what only that can."""

    @staticmethod
    def serialize(obj: Any) -> bytes:
        """Return the pickle of a function, an argument or a result."""
        payload = payloads.dump(obj)
        return bytes(payload.data) if not payload.buffers else pickle.dumps(payloads.load(payload), 5)

    @staticmethod
    def deserialize(payload: bytes) -> Any:
        """Return the value of a pickle."""
        return pickle.loads(payload)


class Serialized:
    """A value in its serializer's bytes; unpickled, it is the value."""

    def __init__(self, serializer: Serializer, value: Any) -> None:
        self._load = serializer.deserialize
        self._data = serializer.serialize(value)

    def restored(self) -> Any:
        """Return the value that the bytes stand for."""
        return self._load(self._data)

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        return self._load, (self._data,)


def with_serializer(
    serializer: Serializer, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Return the same call with its function and arguments in a serializer's bytes; futures and references stay.

    Parameters
    ----------
    serializer
        The user's serializer.
    fn
        What is called.
    args, kwargs
        Its positional arguments, and the others by name.
    """

    def written(value: Any) -> Any:
        return value if isinstance(value, ObjectReference | ObservedTask) else Serialized(serializer, value)

    call = _Call(serializer, Serialized(serializer, fn))
    return call, tuple(map(written, args)), {name: written(value) for name, value in kwargs.items()}


class _Call:
    """A function that puts its result into its serializer's bytes."""

    def __init__(self, serializer: Serializer, fn: Any) -> None:
        self._serializer = serializer
        self._fn = fn  # unpickled in the task: the function itself

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return Serialized(self._serializer, self._fn(*args, **kwargs))
