"""The scheduler's real core over simulated task processes, which start and die when the test says so."""

from __future__ import annotations

from collections.abc import Sequence

from fake_clock import FakeClock
from unused_effects import UnusedEffects

from scaler_notebook.engines.local.ipc.messages import Input, RunFinished
from scaler_notebook.engines.local.scheduler.core.core import Core
from scaler_notebook.protocol.messages import EngineMessage, Payload, Task, TaskOptions
from scaler_notebook.task.task_end import TaskEnd

OWNER = b"me"
EMPTY = Payload(b"")


class SimulatedPool(UnusedEffects):
    """An engine with one spare."""

    def __init__(self, slots: int, idle_timeout: float = 0.0, devices: tuple[str, ...] = ()) -> None:
        self.clock = FakeClock()
        self.alive: list[int] = []
        self.killed: list[int] = []  # and not reaped yet
        self.started: list[str] = []  # ids of tasks
        self.runs: dict[str, tuple[int, int]] = {}  # by task: its process and the number of its run
        self._size, self._extra, self._pids = slots + 1, 0, 0
        self.core = Core(slots, self, {}, clock=self.clock, idle_timeout=idle_timeout, devices=devices)
        self.fill()

    def fill(self) -> None:
        """Reap what was killed, and start what is missing."""
        while self.killed:
            self.reap(self.killed.pop(0))
        while len(self.alive) < self._size + self._extra:
            self._pids += 1
            self.alive.append(self._pids)
            self.core.process_ready(self._pids)

    def reap(self, process: int) -> None:
        self.core.process_died(process, "killed", begun=True)

    def submit(self, *names: str, gpus: int = 0) -> None:
        for name in names:
            self.core.submit(OWNER, Task(name, EMPTY, EMPTY, TaskOptions(gpus=gpus)))

    def end(self, name: str) -> None:
        process, seq = self.runs[name]
        self.core.process_ended_run(process, RunFinished(seq, TaskEnd.SUCCESS, EMPTY))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with the engine awake whenever it has something to do."""
        end = self.clock.now + seconds
        while (due := self.core.next_deadline()) is not None and due <= end:
            self.clock.now = due
            self.core.tick()
        self.clock.now = end

    # ------------------------------------------------------------------ effects

    def send(self, owner: bytes, message: EngineMessage) -> None:
        pass

    def suits(self, process: int, context: object) -> bool:
        return True

    def run_task(
        self, process: int, seq: int, task: Task, context: object, last: bool, inputs: tuple[Input, ...]
    ) -> None:
        self.started.append(task.task_id)
        self.runs[task.task_id] = process, seq

    def interrupt(self, process: int, seq: int) -> None:
        pass

    def kill(self, process: int, others: Sequence[int] = ()) -> None:
        self.alive.remove(process)
        self.killed.append(process)

    def set_standing(self, count: int) -> None:
        self._size = count

    def add_processes(self, extra: int) -> None:
        self._extra = extra

    def surplus(self) -> int:
        return max(0, len(self.alive) - self._size - self._extra)
