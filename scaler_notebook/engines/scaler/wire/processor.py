"""Scaler's own object for the process that runs a task: which task that is, and its connections."""

import sys
from typing import Any

_processor: Any = None


def own_processor() -> Any:
    """Scaler's object for this process, in a worker of its; None elsewhere, or where workers are of another kind.

    Scaler itself knows it on the thread of a task alone; here every thread does, once a task of ours has asked.
    """
    global _processor
    if _processor is None and "scaler.worker.agent.processor.processor" in sys.modules:
        _processor = sys.modules["scaler.worker.agent.processor.processor"].Processor.get_current_processor()
    return _processor


def current_name() -> str:
    """The name of the task that this worker's process runs; empty if it does not say."""
    processor = own_processor()
    task = processor.current_task() if processor is not None else None
    return bytes(task.taskId).decode(errors="replace") if task is not None else ""
