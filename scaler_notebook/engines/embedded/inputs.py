"""What tasks are given beside their arguments: objects that clients have sent, and values of other tasks.

A task names its inputs by id. It waits for those that are still to come; once it has them they are kept for it until
it is over, whatever becomes of the client's interest in them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from ...protocol.messages import Payload
from .hands import Record
from .inner import Input


class Keeper(Protocol):
    """Holds the memory behind payloads."""

    def keep(self, payload: Payload) -> Payload:
        """The same content, independent of whoever sent it. OSError if that process is gone, or nothing is left."""

    def free(self, payload: Payload) -> None:
        """What :meth:`keep` gave is needed no more."""


@dataclass(slots=True)
class _Value:
    owner: bytes
    payload: Payload | None  # None: its task has not ended
    created: bool = False  # by the client, which may still name it
    claims: int = 0  # unfinished tasks that name it
    waiting: dict[str, Record] = field(default_factory=dict)  # of those, the ones that wait for it


class Inputs:
    """Everything that tasks of one scheduler have as inputs."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._values: dict[str, _Value] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Inputs {self._values}>"

    def create(self, owner: bytes, object_id: str, content: Payload) -> None:
        """A client's object. An id that is in use keeps what it has. OSError as :meth:`Keeper.keep`."""
        if object_id not in self._values:
            self._values[object_id] = _Value(owner, self._keeper.keep(content), created=True)

    def delete(self, owner: bytes, object_ids: Iterable[str]) -> None:
        """The client names them no more."""
        for object_id in object_ids:
            value = self._values.get(object_id)
            if value is not None and value.owner == owner:
                value.created = False
                self._settle(object_id, value)

    def client_gone(self, owner: bytes) -> None:
        """Nobody will name its objects any more."""
        self.delete(owner, [object_id for object_id, value in self._values.items() if value.created])

    def claim(self, record: Record, unfinished: Iterable[str]) -> list[str]:
        """Hold a new task's inputs for it, and count in ``record.missing`` those that it has to wait for.

        Parameters
        ----------
        unfinished
            Of the inputs, those that are tasks of the same client, and not over.

        Returns
        -------
        list of str
            The inputs that are neither there nor to come; if there are any, nothing is held.
        """
        names = dict.fromkeys(record.task.inputs)
        known = {name: self._values.get(name) or _Value(record.owner, None) for name in names}
        there = self._values.keys() | set(unfinished)
        lost = [name for name, value in known.items() if name not in there or value.owner != record.owner]
        if lost:
            return lost
        for name, value in known.items():
            self._values[name] = value
            value.claims += 1
            if value.payload is None:
                value.waiting[record.task.task_id] = record
                record.missing += 1
        return []

    def expect(self, owner: bytes, task_id: str) -> None:
        """The value of this task, which begins its life, will be named by tasks that are still to come."""
        self._values[task_id] = _Value(owner, None, created=True)

    def will_not_come(self, task_id: str) -> None:
        """The task has failed or was cancelled, and those that waited for it are over."""
        value = self._values.get(task_id)
        if value is not None and value.payload is None:
            value.created = False
            self._settle(task_id, value)

    def wanted(self, task_id: str) -> bool:
        """Does any task name this one?"""
        return task_id in self._values

    def arrived(self, task_id: str, payload: Payload) -> list[Record]:
        """A task that others name has ended well; gives those that have all their inputs now."""
        value = self._values.get(task_id)
        if value is None:
            return []
        value.payload = self._keeper.keep(payload)
        waiting, value.waiting = value.waiting, {}
        for record in waiting.values():
            record.missing -= 1
        return [record for record in waiting.values() if not record.missing]

    def waiting_for(self, task_id: str) -> list[Record]:
        """Those that wait for a task, which will not come."""
        value = self._values.get(task_id)
        return list(value.waiting.values()) if value is not None else []

    def of(self, record: Record) -> tuple[Input, ...]:
        """What the task's process is given."""
        given = []
        for name in dict.fromkeys(record.task.inputs):
            payload = self._values[name].payload
            assert payload is not None
            given.append(Input(name, payload))
        return tuple(given)

    def release(self, record: Record) -> None:
        """The task is over."""
        for name in dict.fromkeys(record.task.inputs):
            value = self._values.get(name)
            if value is not None:
                value.claims -= 1
                value.waiting.pop(record.task.task_id, None)
                self._settle(name, value)

    def _settle(self, name: str, value: _Value) -> None:
        if not value.created and not value.claims:
            del self._values[name]
            if value.payload is not None:
                self._keeper.free(value.payload)
