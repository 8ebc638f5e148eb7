"""The standard library's pool of processes, and loky's."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from ..outcome import Cannot
from ..peer import WORKERS, Peer


class StandardPool(Peer):
    """``concurrent.futures.ProcessPoolExecutor``."""

    name = "standard"
    title = "standard pool"
    module = "concurrent.futures"
    map_note = "chunksize=1"
    method: ClassVar[str | None] = None  # how processes start; None: the default of this Python
    _executor: Any

    def start(self) -> None:
        context = multiprocessing.get_context(self.method)
        self._executor = concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=context)

    def stop(self) -> None:
        self._kill_workers()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _kill_workers(self) -> None:
        for process in list((self._executor._processes or {}).values()):
            process.kill()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._executor.submit(function, *args)

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> Sequence[Any]:
        return list(self._executor.map(function, items))

    def map_in_chunks(self, function: Callable[..., Any], items: Iterable[Any], size: int) -> Sequence[Any]:
        return list(self._executor.map(function, items, chunksize=size))

    def cancel(self, future: Any) -> None:
        if not future.cancel():
            raise Cannot("future.cancel() returns False while the task runs")

    def free_slot_otherwise(self, process: int) -> str:
        self._kill_workers()
        self._executor.shutdown(wait=False, cancel_futures=True)
        self.start()
        return "all workers killed and a new pool made, every other task lost"

    def recover(self) -> str:
        self._executor.shutdown(wait=False)
        self.start()
        return "a new pool made, every pending future failed"


class StandardPoolSpawned(StandardPool):
    """The same, each process a new interpreter."""

    name = "standard_spawn"
    title = "standard pool, spawn"
    cases = frozenset({"cold_start"})
    method = "spawn"


class Loky(StandardPool):
    """``loky.get_reusable_executor``."""

    name = "loky"
    title = "loky"
    module = "loky"
    distributions = ("loky", "cloudpickle")

    def start(self) -> None:
        from loky import get_reusable_executor

        self._executor = get_reusable_executor(max_workers=WORKERS, timeout=None)

    def stop(self) -> None:
        self._executor.shutdown(wait=True, kill_workers=True)

    def joblib_backend(self) -> Any:
        return "loky"  # joblib's own copy of it, and so other processes than those of this executor

    def free_slot_otherwise(self, process: int) -> str:
        self.stop()
        self.start()
        return "all workers killed and a new pool made, every other task lost"

    def recover(self) -> str:
        self.start()
        return "a new pool made, every pending future failed"
