"""Dependencies of tasks: objects that clients have sent, and values of other tasks.

A task names its dependencies by id, and waits for those that have not arrived. A dependency is retained until every
task that names it is over, even if the client has deleted the object meanwhile.

Each client has ids of its own: what another one calls by the same id is another thing.
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
    payload
        The content; None if the task has not ended.
    named
        May the client name the value in tasks that it has not submitted yet?
    claims
        How many unfinished tasks name the value.
    waiting
        By id, the unfinished tasks that wait for the value.
    """

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
        self._values: dict[tuple[bytes, str], _Value[R]] = {}  # by client and id

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<DependencyTracker {self._values}>"

    # ------------------------------------------------------------------ objects of clients

    def create(self, owner: bytes, object_id: str, content: Payload) -> None:
        """Retain a client's object. If the client uses the id already, nothing changes.

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
        if (owner, object_id) not in self._values:
            self._values[owner, object_id] = _Value(self._store.retain_payload(content), named=True)

    def delete(self, owner: bytes, object_ids: Iterable[str]) -> None:
        """Release objects that their client will not name again; ids that the client does not use are ignored.

        Parameters
        ----------
        owner
            The client.
        object_ids
            The ids of the objects.
        """
        for object_id in object_ids:
            value = self._values.get((owner, object_id))
            if value is not None:
                value.named = False
                self._drop_unused((owner, object_id), value)

    def client_gone(self, owner: bytes) -> None:
        """Release every object of a client that has left."""
        self.delete(owner, [object_id for client, object_id in self._values if client == owner])

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
        keys = dict.fromkeys((record.owner, name) for name in record.task.inputs)
        awaited = set(unfinished)
        lost = [key[1] for key in keys if key not in self._values and key[1] not in awaited]
        if lost:
            return lost
        for key in keys:
            value = self._values.setdefault(key, _Value(None))
            value.claims += 1
            if value.payload is None:
                value.waiting[record.task.task_id] = record
                record.missing += 1
        return []

    def values_of(self, record: R) -> dict[str, Payload]:
        """Return the values that a task depends on, by id; all of them must have arrived."""
        given = {}
        for name in record.task.inputs:
            payload = self._values[record.owner, name].payload
            assert payload is not None
            given[name] = payload
        return given

    def release(self, record: R) -> None:
        """Release the dependencies of a task that is over."""
        for name in dict.fromkeys(record.task.inputs):
            value = self._values.get((record.owner, name))
            if value is not None:
                value.claims -= 1
                value.waiting.pop(record.task.task_id, None)
                self._drop_unused((record.owner, name), value)

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
        self._values[owner, task_id] = _Value(None, named=True)

    def wanted(self, owner: bytes, name: str) -> bool:
        """Return whether an object or a value of a client is retained, or expected, under this id.

        Parameters
        ----------
        owner
            The client.
        name
            The id.
        """
        return (owner, name) in self._values

    def arrive(self, owner: bytes, task_id: str, payload: Payload) -> list[R]:
        """Retain the value of a task that has succeeded.

        Parameters
        ----------
        owner
            The client.
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
        value = self._values.get((owner, task_id))
        if value is None:
            return []
        value.payload = self._store.retain_payload(payload)
        waiting, value.waiting = value.waiting, {}
        for record in waiting.values():
            record.missing -= 1
        return [record for record in waiting.values() if not record.missing]

    def fail(self, owner: bytes, task_id: str) -> list[R]:
        """Return all dependants of a task whose value will not arrive, direct and indirect.

        Each stands behind the one that it depends on. The caller releases each by :meth:`release`. Iterative, not
        recursive: a chain of dependencies may be longer than the recursion limit.

        Parameters
        ----------
        owner
            The client.
        task_id
            The task.
        """
        dependants: dict[str, R] = {}
        failed = deque([task_id])
        while failed:
            name = failed.popleft()
            value = self._values.get((owner, name))
            if value is None or value.payload is not None:
                continue
            value.named = False
            for dependant_id, record in value.waiting.items():
                if dependant_id not in dependants:
                    dependants[dependant_id] = record
                    failed.append(dependant_id)
            self._drop_unused((owner, name), value)
        return list(dependants.values())

    def _drop_unused(self, key: tuple[bytes, str], value: _Value[R]) -> None:
        """Free a value that no task names, and that the client will not name.

        Parameters
        ----------
        key
            The client and the id.
        value
            The value.
        """
        if not value.named and not value.claims:
            del self._values[key]
            if value.payload is not None:
                self._store.release_payload(value.payload)
