"""Run a notebook's slow calls on worker processes; see them, and stop them.

The names below are loaded when they are first used: the scheduler and its task processes import this package too, and
need none of them.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .client.client import Client as Client
    from .client.cluster import LocalCluster as LocalCluster
    from .client.cluster import SchedulerClusterCombo as SchedulerClusterCombo
    from .client.executor import NotebookExecutor as NotebookExecutor
    from .client.futures.completion import as_completed as as_completed
    from .client.futures.completion import wait as wait
    from .client.futures.future import ScalerFuture as ScalerFuture
    from .client.futures.gather import as_completed_async as as_completed_async
    from .client.futures.gather import gather as gather
    from .client.futures.gather import gather_async as gather_async
    from .client.futures.gather import wait_async as wait_async
    from .client.futures.group import FutureGroup as FutureGroup
    from .client.futures.item_stream import ItemStream as ItemStream
    from .client.submission.serializer import DefaultSerializer as DefaultSerializer
    from .client.submission.serializer import Serializer as Serializer
    from .client.task_state.profiling import ProfileResult as ProfileResult
    from .client.task_state.references import ObjectReference as ObjectReference
    from .notebook.magics.extension import load_ipython_extension as load_ipython_extension
    from .notebook.magics.extension import unload_ipython_extension as unload_ipython_extension
    from .protocol.errors import CapabilityError as CapabilityError
    from .protocol.errors import DisconnectedError as DisconnectedError
    from .protocol.errors import EngineLostError as EngineLostError
    from .protocol.errors import EngineStartError as EngineStartError
    from .protocol.errors import InitializerError as InitializerError
    from .protocol.errors import MissingObjects as MissingObjects
    from .protocol.errors import ProcessorDiedError as ProcessorDiedError
    from .protocol.errors import ProtocolError as ProtocolError
    from .protocol.errors import TaskCancelledError as TaskCancelledError
    from .protocol.errors import TaskSerializationError as TaskSerializationError
    from .protocol.errors import WorkerDiedError as WorkerDiedError
    from .protocol.states import CancelReason as CancelReason
    from .protocol.states import TaskState as TaskState
    from .task.current_task import CurrentTask as CurrentTask
    from .task.current_task import current_task as current_task
    from .task.progress import progress as progress

_HOMES = {
    "LocalCluster": "client.cluster",
    "SchedulerClusterCombo": "client.cluster",
    "Client": "client.client",
    "as_completed": "client.futures.completion",
    "wait": "client.futures.completion",
    "as_completed_async": "client.futures.gather",
    "gather": "client.futures.gather",
    "gather_async": "client.futures.gather",
    "wait_async": "client.futures.gather",
    "NotebookExecutor": "client.executor",
    "ScalerFuture": "client.futures.future",
    "FutureGroup": "client.futures.group",
    "ItemStream": "client.futures.item_stream",
    "ProfileResult": "client.task_state.profiling",
    "ObjectReference": "client.task_state.references",
    "DefaultSerializer": "client.submission.serializer",
    "Serializer": "client.submission.serializer",
    "CurrentTask": "task.current_task",
    "current_task": "task.current_task",
    "progress": "task.progress",
    "load_ipython_extension": "notebook.magics.extension",
    "unload_ipython_extension": "notebook.magics.extension",
    "CapabilityError": "protocol.errors",
    "DisconnectedError": "protocol.errors",
    "EngineLostError": "protocol.errors",
    "EngineStartError": "protocol.errors",
    "InitializerError": "protocol.errors",
    "MissingObjects": "protocol.errors",
    "ProcessorDiedError": "protocol.errors",
    "ProtocolError": "protocol.errors",
    "TaskCancelledError": "protocol.errors",
    "TaskSerializationError": "protocol.errors",
    "WorkerDiedError": "protocol.errors",
    "CancelReason": "protocol.states",
    "TaskState": "protocol.states",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def _activate_in_a_kernel() -> None:
    """Have futures displayed as cards from the import on, in a kernel; ``%load_ext`` adds the magics only."""
    if "marimo" in sys.modules:
        importlib.import_module(".notebook.marimo.host", __name__).activate()
    if "ipykernel" in sys.modules and "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
        if hasattr(shell, "kernel"):
            importlib.import_module(".notebook.activation", __name__).activate(shell)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


_activate_in_a_kernel()
