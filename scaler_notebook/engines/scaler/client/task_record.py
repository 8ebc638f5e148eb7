"""What is known of one task that a client has at a cluster."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from scaler_notebook.engines.scaler.wire.envelope import ResultHeader
from scaler_notebook.protocol.messages import Initializer, Task

from .object_store import StoredTask
from .states import ScalerStage


@dataclass(slots=True, eq=False)
class ScalerTaskRecord:
    """One task, from its arrival to its last message."""

    task: Task  # as its client has sent it
    initializer: Initializer
    stage: ScalerStage = ScalerStage.WAITING
    stored: StoredTask = field(default_factory=StoredTask)
    name: bytes = b""  # of this try, at the cluster
    started: bool = False  # this try, as it says itself
    mailbox: str = ""
    tries: int = 0  # started
    failed: int = 0
    cancel_requested: bool = False  # to stop, and not refused since
    force: bool = False
    grace: float = 0.0
    ended: ResultHeader | None = None  # what the task itself has said of its end
    result: Any = None  # what Scaler has
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    missing: int = 0  # dependencies that it waits for
    owner: bytes = b""  # all tasks at a cluster are of one client
