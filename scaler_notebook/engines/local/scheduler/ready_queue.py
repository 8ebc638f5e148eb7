"""Which queued task is next: by priority, then in the order of submission, as far as its capabilities are free."""

from collections.abc import Mapping
from typing import TypeAlias

from scaler_notebook.protocol.messages import Capability, TaskOptions

from .indexed_heap import Line
from .records import Record

Needs: TypeAlias = tuple[Capability, ...]

MEMORY = ""  # what tasks say that they take of it is shared as a capability is; none of a user's has this name
PARTS = 100  # that memory is counted in: a line for each number of bytes would be far too many
UNBOUNDED = 2**60  # bytes


class Queue:
    """A line for each set of capabilities that queued tasks need; most need none.

    No task overtakes one that waits for a capability which it needs too: so who needs much gets it in the end. All
    others do.

    Parameters
    ----------
    capabilities
        What there is in all, to be shared by the tasks that run.
    memory
        Bytes, to be shared by those that say how much they take.
    """

    def __init__(self, capabilities: Mapping[str, int], memory: int = UNBOUNDED) -> None:
        self._free = {**capabilities, MEMORY: PARTS}
        self._memory = memory
        self._plain = Line()  # of those that need none; always there
        self._lines: dict[Needs, Line] = {(): self._plain}

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __contains__(self, record: Record) -> bool:
        line = self._lines.get(record.needs)
        return line is not None and record.task.task_id in line

    def __repr__(self) -> str:
        return f"<Queue {self._lines} free {self._free}>"

    def needs(self, options: TaskOptions) -> Needs:
        """What a task waits for. Of memory all there is at most: so what says that it takes more runs in the end."""
        if options.memory <= 0:
            return options.capabilities
        parts = min(PARTS, -(-options.memory * PARTS // self._memory))
        return Capability(MEMORY, parts), *options.capabilities

    def add(self, record: Record) -> None:
        """Queue a task; one that was here before gets its old place."""
        needs = record.needs
        if needs not in self._lines:
            self._lines[needs] = Line()
        self._lines[needs].add(record.task.task_id, -record.priority, record.number)

    def remove(self, record: Record) -> None:
        """Take a task out, wherever it stands."""
        needs = record.needs
        self._lines[needs].remove(record.task.task_id)
        if needs and not self._lines[needs]:
            del self._lines[needs]

    def take(self, record: Record) -> None:
        """A task that runs has what it needs."""
        for capability in record.needs:
            self._free[capability.name] -= capability.amount

    def give_back(self, record: Record) -> None:
        """It runs no more."""
        for capability in record.needs:
            self._free[capability.name] += capability.amount

    @property
    def next(self) -> str | None:
        """The id of the task to run as soon as there is a process; it stays where it is."""
        if len(self._lines) == 1:
            first = self._plain.first
            return first[2] if first is not None else None
        firsts = {line.first: needs for needs, line in self._lines.items()}
        waited_for: set[str] = set()
        for first in sorted(first for first in firsts if first is not None):
            needs = firsts[first]
            names = {capability.name for capability in needs}
            if not names & waited_for and all(self._free[wanted.name] >= wanted.amount for wanted in needs):
                return first[2]
            waited_for |= names
        return None
