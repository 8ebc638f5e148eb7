"""Dependencies of tasks: objects that clients have sent, and values of other tasks.

A task names its dependencies by id, and waits for those that have not arrived. A dependency is retained until every
task that names it is over, even if the client has deleted the object meanwhile.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from scaler_notebook.protocol.messages import Payload, Task


class PayloadStore(Protocol):
    """Owns the memory behind payloads."""

    def retain_payload(self, payload: Payload) -> Payload:
        """Return a payload with the same content, independent of the process that has sent it.

        Raises
        ------
        OSError
            That process is gone, or there is no memory left.
        """

    def release_payload(self, payload: Payload) -> None:
        """Free a payload that :meth:`retain_payload` gave."""


class Dependant(Protocol):
    """A task, as far as the tracker knows it."""

    missing: int  # how many dependencies the task waits for

    @property
    def task(self) -> Task:
        """The task as the client has sent it."""

    @property
    def owner(self) -> bytes:
        """The client whose objects and tasks the task may name."""


R = TypeVar("R", bound=Dependant)


@dataclass(slots=True)
class _Value(Generic[R]):
    """An object, or the value of a task.

    Parameters
    ----------
    owner
        The client.
    payload
        The content; None if the task has not ended.
    named
        May the client name the value in tasks that it has not submitted yet?
    claims
        How many unfinished tasks name the value.
    waiting
        By id, the unfinished tasks that wait for the value.
    """

    owner: bytes
    payload: Payload | None
    named: bool = False
    claims: int = 0
    waiting: dict[str, R] = field(default_factory=dict)


class DependencyTracker(Generic[R]):
    """Every object and value that tasks of one scheduler depend on, and the tasks that wait for them.

    Parameters
    ----------
    store
        Where the content of objects and values is retained.
    """

    def __init__(self, store: PayloadStore) -> None:
        self._store = store
        self._values: dict[str, _Value[R]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<DependencyTracker {self._values}>"

    # ------------------------------------------------------------------ objects of clients

    def create(self, owner: bytes, object_id: str, content: Payload) -> None:
        """Retain a client's object. If the id is in use, nothing changes.

        Parameters
        ----------
        owner
            The client.
        object_id
            The id by which tasks name the object.
        content
            The object, pickled.

        Raises
        ------
        OSError
            As :meth:`PayloadStore.retain_payload`.
        """
        if object_id not in self._values:
            self._values[object_id] = _Value(owner, self._store.retain_payload(content), named=True)

    def delete(self, owner: bytes, object_ids: Iterable[str]) -> None:
        """Release objects that their client will not name again; ids of other clients' objects are ignored.

        Parameters
        ----------
        owner
            The client.
        object_ids
            The ids of the objects.
        """
        for object_id in object_ids:
            value = self._values.get(object_id)
            if value is not None and value.owner == owner:
                value.named = False
                self._drop_unused(object_id, value)

    def client_gone(self, owner: bytes) -> None:
        """Release every object of a client that has left."""
        self.delete(owner, [object_id for object_id, value in self._values.items() if value.named])

    # ------------------------------------------------------------------ tasks

    def add(self, record: R, unfinished: Iterable[str]) -> list[str]:
        """Retain a new task's dependencies, and count in ``record.missing`` those that have not arrived.

        Parameters
        ----------
        record
            The task.
        unfinished
            The dependencies that are unfinished tasks of the same client.

        Returns
        -------
        list of str
            The dependencies that are unknown, or another client's; if there are any, nothing is retained.
        """
        names = dict.fromkeys(record.task.inputs)
        known = {name: self._values.get(name) or _Value(record.owner, None) for name in names}
        here = self._values.keys() | set(unfinished)
        lost = [name for name, value in known.items() if name not in here or value.owner != record.owner]
        if lost:
            return lost
        for name, value in known.items():
            self._values[name] = value
            value.claims += 1
            if value.payload is None:
                value.waiting[record.task.task_id] = record
                record.missing += 1
        return []

    def values_of(self, record: R) -> dict[str, Payload]:
        """Return the values that a task depends on, by id; all of them must have arrived."""
        given = {}
        for name in record.task.inputs:
            payload = self._values[name].payload
            assert payload is not None
            given[name] = payload
        return given

    def release(self, record: R) -> None:
        """Release the dependencies of a task that is over."""
        for name in dict.fromkeys(record.task.inputs):
            value = self._values.get(name)
            if value is not None:
                value.claims -= 1
                value.waiting.pop(record.task.task_id, None)
                self._drop_unused(name, value)

    # ------------------------------------------------------------------ values of tasks

    def expect(self, owner: bytes, task_id: str) -> None:
        """Note that the value of a new task will be named by tasks that are not submitted yet.

        Parameters
        ----------
        owner
            The client.
        task_id
            The new task.
        """
        self._values[task_id] = _Value(owner, None, named=True)

    def wanted(self, name: str) -> bool:
        """Return whether an object or a value is retained, or expected, under this id."""
        return name in self._values

    def arrive(self, task_id: str, payload: Payload) -> list[R]:
        """Retain the value of a task that has succeeded.

        Parameters
        ----------
        task_id
            The task.
        payload
            The value, pickled.

        Returns
        -------
        list
            The tasks of which this was the last missing dependency.

        Raises
        ------
        OSError
            As :meth:`PayloadStore.retain_payload`.
        """
        value = self._values.get(task_id)
        if value is None:
            return []
        value.payload = self._store.retain_payload(payload)
        waiting, value.waiting = value.waiting, {}
        for record in waiting.values():
            record.missing -= 1
        return [record for record in waiting.values() if not record.missing]

    def fail(self, task_id: str) -> list[R]:
        """Return all dependants of a task whose value will not arrive, direct and indirect.

        Each stands behind the one that it depends on. The caller releases each by :meth:`release`. Iterative, not
        recursive: a chain of dependencies may be longer than the recursion limit.
        """
        dependants: dict[str, R] = {}
        failed = deque([task_id])
        while failed:
            name = failed.popleft()
            value = self._values.get(name)
            if value is None or value.payload is not None:
                continue
            value.named = False
            for dependant_id, record in value.waiting.items():
                if dependant_id not in dependants:
                    dependants[dependant_id] = record
                    failed.append(dependant_id)
            self._drop_unused(name, value)
        return list(dependants.values())

    def _drop_unused(self, name: str, value: _Value[R]) -> None:
        """Free a value that no task names, and that the client will not name."""
        if not value.named and not value.claims:
            del self._values[name]
            if value.payload is not None:
                self._store.release_payload(value.payload)
