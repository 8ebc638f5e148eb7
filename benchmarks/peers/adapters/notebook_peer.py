"""scaler_notebook."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..peer import WORKERS, Peer


class ScalerNotebook(Peer):
    """This package's executor, with an engine of its own."""

    name = "scaler_notebook"
    title = "scaler_notebook"
    module = "scaler_notebook"
    distributions = ("scaler-notebook", "pyzmq", "msgpack", "cloudpickle")
    map_note = "one task per item; with chunksize one per chunk"

    def start(self) -> None:
        from scaler_notebook import NotebookExecutor

        self._executor = NotebookExecutor(n_workers=WORKERS)

    def stop(self) -> None:
        self._executor.shutdown()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._executor.submit(function, *args)

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> Sequence[Any]:
        return list(self._executor.map(function, items))

    def map_in_chunks(self, function: Callable[..., Any], items: Iterable[Any], size: int) -> Sequence[Any]:
        return list(self._executor.map(function, items, chunksize=size))

    def joblib_backend(self) -> Any:
        return self._executor.joblib_backend()

    def put(self, value: Any) -> Any:
        return self._executor.send_object(value)

    def cancel_many(self, futures: Sequence[Any]) -> None:
        from scaler_notebook import FutureGroup

        FutureGroup(futures).cancel()
