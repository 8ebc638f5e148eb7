"""The messages between the scheduler and one task process. They never leave the machine."""

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from ...protocol.messages import Payload, TaskFigures
from ...protocol.wire import Codec


class End(Enum):
    """How a run ended, as its process saw it."""

    SUCCESS = "success"
    FAILED = "failed"
    STOPPED = "stopped"  # by the interrupt that the scheduler asked for


@dataclass(frozen=True, slots=True)
class Run:
    """Scheduler → task process. ``seq`` counts the runs of one process; interrupts name it."""

    seq: int
    function: Payload
    arguments: Payload


@dataclass(frozen=True, slots=True)
class Ready:
    """Task process → scheduler, once: it can take a task."""

    pid: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Task process → scheduler, once a run."""

    seq: int
    end: End
    payload: Payload
    figures: TaskFigures = field(default_factory=TaskFigures)


InnerMessage: TypeAlias = Run | Ready | Ended
INNER_CODEC: Codec[InnerMessage] = Codec({1: Run, 2: Ready, 3: Ended})
