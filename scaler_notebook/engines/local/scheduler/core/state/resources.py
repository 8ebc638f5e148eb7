"""Capabilities, memory and devices: what tasks need beside a slot, and how much is free."""

from collections.abc import Mapping
from typing import TypeAlias

from scaler_notebook.protocol.messages import Capability, TaskOptions

from .devices import Devices
from .records import TaskRecord

Needs: TypeAlias = tuple[Capability, ...]

MEMORY = ""  # the name of memory as a capability; a user's capability has another name
GPUS = "\0gpus"  # the name of devices as a capability, in parts; no text that is typed has such a name
PARTS = 100  # units of all memory: each number of bytes would make a heap of the ready queue
UNBOUNDED = 2**60  # bytes


class Resources:
    """The capabilities, the memory and the devices of one scheduler.

    Parameters
    ----------
    capabilities
        How much there is of each capability in all, to be shared by the tasks that run.
    memory
        Bytes, to be shared by the tasks that say how much memory they take.
    devices
        The devices.
    """

    def __init__(self, capabilities: Mapping[str, int], memory: int, devices: Devices) -> None:
        self._devices = devices
        self._free = {**capabilities, MEMORY: PARTS}
        self._memory = memory

    def __repr__(self) -> str:
        return f"<Resources {self._free}>"

    def needs(self, options: TaskOptions) -> Needs:
        """Return what a task needs: its capabilities, its share of memory, and its devices.

        A task that takes more memory than there is needs all of it.
        """
        needs = options.capabilities
        if options.gpus > 0:
            needs = Capability(GPUS, options.gpus), *needs
        if options.memory > 0:
            parts = min(PARTS, -(-options.memory * PARTS // self._memory))
            needs = Capability(MEMORY, parts), *needs
        return needs

    def suffice(self, needs: Needs) -> bool:
        """Return whether enough is free for a task with these needs."""
        return all(
            self._devices.suffice(wanted.amount) if wanted.name == GPUS else self._free[wanted.name] >= wanted.amount
            for wanted in needs
        )

    def take(self, record: TaskRecord) -> None:
        """Take from the free resources what a task needs that begins to run."""
        self._devices.take(record)
        for capability in record.needs:
            if capability.name != GPUS:
                self._free[capability.name] -= capability.amount

    def give_back(self, record: TaskRecord) -> None:
        """Add to the free resources what a task had that runs no more."""
        self._devices.give_back(record)
        for capability in record.needs:
            if capability.name != GPUS:
                self._free[capability.name] += capability.amount
