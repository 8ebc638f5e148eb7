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
    from .client.collect import as_completed as as_completed
    from .client.collect import wait as wait
    from .client.combine import as_completed_async as as_completed_async
    from .client.combine import gather as gather
    from .client.combine import gather_async as gather_async
    from .client.combine import wait_async as wait_async
    from .client.executor import NotebookExecutor as NotebookExecutor
    from .client.future import ScalerFuture as ScalerFuture
    from .client.group import FutureGroup as FutureGroup
    from .client.profiling import ProfileResult as ProfileResult
    from .client.references import ObjectReference as ObjectReference
    from .client.serializer import DefaultSerializer as DefaultSerializer
    from .client.serializer import Serializer as Serializer
    from .notebook.extension import load_ipython_extension as load_ipython_extension
    from .notebook.extension import unload_ipython_extension as unload_ipython_extension
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
    "as_completed": "client.collect",
    "wait": "client.collect",
    "as_completed_async": "client.combine",
    "gather": "client.combine",
    "gather_async": "client.combine",
    "wait_async": "client.combine",
    "NotebookExecutor": "client.executor",
    "ScalerFuture": "client.future",
    "FutureGroup": "client.group",
    "ProfileResult": "client.profiling",
    "ObjectReference": "client.references",
    "DefaultSerializer": "client.serializer",
    "Serializer": "client.serializer",
    "CurrentTask": "task.current_task",
    "current_task": "task.current_task",
    "progress": "task.progress",
    "load_ipython_extension": "notebook.extension",
    "unload_ipython_extension": "notebook.extension",
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
    """In a kernel, futures are displayed as cards from the import on; ``%load_ext`` adds the magics only."""
    if "ipykernel" in sys.modules and "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
        if hasattr(shell, "kernel"):
            importlib.import_module(".notebook.bridge", __name__).activate(shell)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


_activate_in_a_kernel()
