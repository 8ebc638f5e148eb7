"""What tasks need beside a slot, and how much of that is free: capabilities, and memory."""

from collections.abc import Mapping
from typing import TypeAlias

from scaler_notebook.protocol.messages import Capability, TaskOptions

Needs: TypeAlias = tuple[Capability, ...]

MEMORY = ""  # the name under which memory is shared as a capability; none of a user's has this name
PARTS = 100  # that memory is counted in: a heap for each number of bytes would be far too many
UNBOUNDED = 2**60  # bytes


class Resources:
    """The capabilities and the memory of one scheduler.

    Parameters
    ----------
    capabilities
        How much there is of each in all, to be shared by the tasks that run.
    memory
        Bytes, to be shared by the tasks that say how much they take.
    """

    def __init__(self, capabilities: Mapping[str, int], memory: int = UNBOUNDED) -> None:
        self._free = {**capabilities, MEMORY: PARTS}
        self._memory = memory

    def __repr__(self) -> str:
        return f"<Resources {self._free}>"

    def needs(self, options: TaskOptions) -> Needs:
        """Give what a task waits for.

        A task that says it takes more memory than there is waits for all that there is, and so runs in the end.
        """
        if options.memory <= 0:
            return options.capabilities
        parts = min(PARTS, -(-options.memory * PARTS // self._memory))
        return Capability(MEMORY, parts), *options.capabilities

    def suffice(self, needs: Needs) -> bool:
        """Is enough free for a task with these needs?"""
        return all(self._free[wanted.name] >= wanted.amount for wanted in needs)

    def take(self, needs: Needs) -> None:
        """Give a task that begins to run what it needs."""
        for capability in needs:
            self._free[capability.name] -= capability.amount

    def give_back(self, needs: Needs) -> None:
        """Take back what a task had that runs no more."""
        for capability in needs:
            self._free[capability.name] += capability.amount
