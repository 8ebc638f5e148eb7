"""The JSON objects that ``--json`` prints for a program to read, in forms of :mod:`~.protocol.encoding.json_forms`."""

from collections.abc import Iterable
from typing import Any

from scaler_notebook.client.executor import NotebookExecutor
from scaler_notebook.client.futures.completion import wait
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.session_log.history import HistoryRecord, record_form
from scaler_notebook.protocol.encoding import json_forms
from scaler_notebook.protocol.messages import EngineStatus


def show(**names: Any) -> None:
    """Print a document with these names."""
    print(json_forms.document(**names))


def tasks(records: Iterable[HistoryRecord]) -> list[dict[str, Any]]:
    """Return the forms of several tasks."""
    return list(map(record_form, records))


def engine(executor: NotebookExecutor, found: EngineStatus | None) -> dict[str, Any]:
    """Return the form of an engine that runs.

    Parameters
    ----------
    executor
        The executor.
    found
        What the engine says of itself; None if it does not answer, and then its numbers are null.
    """
    processes = zip(found.processes, found.tasks, strict=True) if found is not None else ()
    gpus = dict(zip(found.processes, found.gpus, strict=False)) if found is not None else {}
    return {
        "address": executor.address,
        "workers": executor.n_workers,
        "queued": found.queued if found is not None else None,
        "running": sum(map(bool, found.tasks)) if found is not None else None,
        "idle_timeout": (found.idle_timeout or None) if found is not None else None,
        "gone": found.gone if found is not None else None,
        "processes": [{"pid": pid, "task": task_id or None, "gpus": gpus.get(pid, "")} for pid, task_id in processes],
    }


def outcome(future: ScalerFuture[Any], timeout: float | None) -> dict[str, Any]:
    """Wait for a task, and return the form of its value or of its exception.

    ``value`` is there where JSON has the value as it is; ``text`` is the ``repr`` of any. Of an exception there are the
    type, the message and the traceback.

    Parameters
    ----------
    future
        The future.
    timeout
        Seconds to wait at most; None for ever.

    Returns
    -------
    dict
        Empty if the task is cancelled.

    Raises
    ------
    TimeoutError
        The task has not ended in time.
    """
    if wait([future], timeout).not_done:
        raise TimeoutError(f"{future.call} has not ended within {timeout} s")
    if future.cancelled():
        return {}
    if (error := future.exception()) is not None:
        return {"error": json_forms.failure_form(error)}
    return json_forms.value_form(future.result())
