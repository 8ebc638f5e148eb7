"""dask.distributed, with a cluster of its own on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..outcome import Cannot
from ..peer import WORKERS, Peer

RESTART = 30.0  # seconds until a worker must be there again


class Dask(Peer):
    """``distributed.Client`` of a ``LocalCluster`` of processes with one thread each."""

    name = "dask"
    title = "dask.distributed"
    module = "distributed"
    distributions = ("distributed", "dask", "tornado", "msgpack", "cloudpickle")
    map_note = "one task per item, in one message"
    _client: Any
    _cluster: Any

    def start(self) -> None:
        import dask

        dask.config.set({"distributed.admin.large-graph-warning-threshold": "10 GB"})
        from distributed import Client, LocalCluster

        one_thread = {"n_workers": WORKERS, "threads_per_worker": 1, "processes": True}
        self._cluster = LocalCluster(**one_thread, dashboard_address=None, silence_logs=50)
        self._client = Client(self._cluster)

    def stop(self) -> None:
        self._client.close()
        self._cluster.close()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._client.submit(function, *args, pure=False)

    def gather(self, futures: Sequence[Any]) -> Sequence[Any]:
        values: Sequence[Any] = self._client.gather(list(futures))
        return values

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> Sequence[Any]:
        return self.gather(self._client.map(function, items, pure=False))

    def map_in_chunks(self, function: Callable[..., Any], items: Iterable[Any], size: int) -> Sequence[Any]:
        raise Cannot("its map has no chunks: batch_size bounds a message, each item stays a task")

    def joblib_backend(self) -> Any:
        return "dask"

    def put(self, value: Any) -> Any:
        return self._client.scatter(value, broadcast=True)

    def cancel_many(self, futures: Sequence[Any]) -> None:
        self._client.cancel(futures)

    def free_slot_otherwise(self, process: int) -> str:
        # A worker's event loop answers run() while the thread of its task is busy.
        address = next(at for at, found in self._client.run(os.getpid).items() if found == process)
        self._client.restart_workers([address], timeout=RESTART)
        return "client.restart_workers() of its worker"
