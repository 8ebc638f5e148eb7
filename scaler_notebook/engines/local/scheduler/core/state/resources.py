"""Capabilities and memory: what tasks need beside a slot, and how much is free."""

from collections.abc import Mapping
from typing import TypeAlias

from scaler_notebook.protocol.messages import Capability, TaskOptions

Needs: TypeAlias = tuple[Capability, ...]

MEMORY = ""  # the name of memory as a capability; a user's capability has another name
PARTS = 100  # units of all memory: each number of bytes would make a heap of the ready queue
UNBOUNDED = 2**60  # bytes


class Resources:
    """The capabilities and the memory of one scheduler.

    Parameters
    ----------
    capabilities
        How much there is of each capability in all, to be shared by the tasks that run.
    memory
        Bytes, to be shared by the tasks that say how much memory they take.
    """

    def __init__(self, capabilities: Mapping[str, int], memory: int = UNBOUNDED) -> None:
        self._free = {**capabilities, MEMORY: PARTS}
        self._memory = memory

    def __repr__(self) -> str:
        return f"<Resources {self._free}>"

    def needs(self, options: TaskOptions) -> Needs:
        """Return what a task needs: its capabilities, and its share of memory.

        A task that takes more memory than there is needs all of it.
        """
        if options.memory <= 0:
            return options.capabilities
        parts = min(PARTS, -(-options.memory * PARTS // self._memory))
        return Capability(MEMORY, parts), *options.capabilities

    def suffice(self, needs: Needs) -> bool:
        """Return whether enough is free for a task with these needs."""
        return all(self._free[wanted.name] >= wanted.amount for wanted in needs)

    def take(self, needs: Needs) -> None:
        """Take from the free resources what a task needs that begins to run."""
        for capability in needs:
            self._free[capability.name] -= capability.amount

    def give_back(self, needs: Needs) -> None:
        """Add to the free resources what a task had that runs no more."""
        for capability in needs:
            self._free[capability.name] += capability.amount
