"""Scaler's object for the process that runs a task: which task that is, and the process's connections."""

import sys
from typing import Any

_processor: Any = None


def own_processor() -> Any:
    """Return Scaler's object for this process; None outside of a Scaler worker, or in a worker of another kind.

    Scaler itself finds the object on the thread of a task only. Here every thread does, once a task of this package has
    asked.
    """
    global _processor
    if _processor is None and "scaler.worker.agent.processor.processor" in sys.modules:
        _processor = sys.modules["scaler.worker.agent.processor.processor"].Processor.get_current_processor()
    return _processor


def current_name() -> str:
    """Return the name of the task that this worker's process runs; empty if unknown."""
    processor = own_processor()
    task = processor.current_task() if processor is not None else None
    return bytes(task.taskId).decode(errors="replace") if task is not None else ""
