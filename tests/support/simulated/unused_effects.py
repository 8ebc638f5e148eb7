"""The side effects of a scheduler where nothing is nested and nothing lies in shared memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from scaler_notebook.engines.local.scheduler.core.effects import PrefetchedRun
from scaler_notebook.protocol.messages import Payload


class UnusedEffects:
    """The part of the core's effects that most tests are not about.

    All of them: :class:`scaler_notebook.engines.local.scheduler.core.effects.Effects`.
    """

    def set_standing(self, count: int) -> None:
        raise AssertionError("nobody scales the engine, and no process goes")

    def add_processes(self, extra: int) -> None:
        raise AssertionError("no task waits for tasks of its own")

    def surplus(self) -> int:
        raise AssertionError("no task has waited for tasks of its own")

    def assign_devices(self, process: int, names: tuple[str, ...]) -> None:
        raise AssertionError("there are no devices")

    def tell_taken(self, process: int, seq: int, count: int) -> None:
        raise AssertionError("no task gives items")

    def prefetch(self, process: int, runs: Sequence[PrefetchedRun]) -> None:
        raise AssertionError("no run is brief")

    def recall(self, process: int, after: int) -> Collection[int]:
        raise AssertionError("nothing was prefetched")

    def cpu_seconds(self, process: int) -> float:
        raise AssertionError("nothing stands still")

    def retain_payload(self, payload: Payload) -> Payload:
        return payload

    def release_payload(self, payload: Payload) -> None:
        assert not payload.buffers, "nothing here lies in shared memory"
