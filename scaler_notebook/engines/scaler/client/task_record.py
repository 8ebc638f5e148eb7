"""The record of one task that a client has at a cluster."""

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

    task: Task  # as the client has sent it
    initializer: Initializer
    stage: ScalerStage = ScalerStage.WAITING
    stored: StoredTask = field(default_factory=StoredTask)
    name: bytes = b""  # the name of this try at the cluster
    started: bool = False  # the task has reported the start of this try
    mailbox: str = ""
    tries: int = 0  # tries that have started
    failed: int = 0  # tries that have failed
    cancel_requested: bool = False  # and not refused since
    force: bool = False  # the strongest request that is not answered
    grace: float = 0.0  # seconds
    killed: bool = False  # the task ran on for all of the grace period, and Scaler was asked to end its process
    ended: ResultHeader | None = None  # as the task itself has reported its end
    result: Any = None  # Scaler's message
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    missing: int = 0  # dependencies that the task waits for
    owner: bytes = b""  # a connection has one client
