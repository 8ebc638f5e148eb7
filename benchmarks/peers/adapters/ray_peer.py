"""Ray, with a cluster of its own on this machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from ..outcome import Cannot
from ..peer import WORKERS, Peer


class Ray(Peer):
    """``ray.remote`` functions, with ``num_cpus=2``."""

    name = "ray"
    title = "Ray"
    module = "ray"
    distributions = ("ray",)
    map_note = "core has no map: one .remote() per item, then ray.get"
    force: ClassVar[bool] = False
    _ray: Any

    def start(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_DEDUP_LOGS", "0")
        import ray

        self._ray = ray
        self._remote: dict[Callable[..., Any], Any] = {}
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": 50}
        directory = os.path.join(tempfile.gettempdir(), "r")  # short: the names of its sockets have little room
        self._ray.init(num_cpus=WORKERS, _temp_dir=directory, **quiet)

    def stop(self) -> None:
        self._ray.shutdown()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        remote = self._remote.get(function)
        if remote is None:
            remote = self._remote[function] = self._ray.remote(function)
        return remote.remote(*args)

    def result(self, future: Any, timeout: float | None = None) -> Any:
        try:
            return self._ray.get(future, timeout=timeout)
        except self._ray.exceptions.GetTimeoutError as error:
            raise TimeoutError from error

    def gather(self, futures: Sequence[Any]) -> Sequence[Any]:
        values: Sequence[Any] = self._ray.get(list(futures))
        return values

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> Sequence[Any]:
        return self.gather([self.submit(function, item) for item in items])

    def map_in_chunks(self, function: Callable[..., Any], items: Iterable[Any], size: int) -> Sequence[Any]:
        raise Cannot("core has no map; ray.util.multiprocessing.Pool has chunks")

    def put(self, value: Any) -> Any:
        return self._ray.put(value)

    def cancel(self, future: Any) -> None:
        self._ray.cancel(future, force=self.force)

    def cancel_many(self, futures: Sequence[Any]) -> None:
        for future in futures:
            self._ray.cancel(future, force=self.force)

    def end_of_cancel(self, future: Any, timeout: float) -> str:
        try:
            self._ray.get(future, timeout=timeout)
        except self._ray.exceptions.GetTimeoutError:
            return "timeout"
        except self._ray.exceptions.TaskCancelledError:
            return "cancelled"
        except Exception as error:
            return type(error).__name__
        return "finished"


class RayForce(Ray):
    """Ray, where a cancel kills the worker process."""

    name = "ray_force"
    title = "Ray, force=True"
    cases = frozenset({"cancel_loop", "cancel_sleep"})
    force = True
