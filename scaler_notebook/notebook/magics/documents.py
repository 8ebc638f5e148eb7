"""The JSON objects that ``--json`` prints for a program to read, each with the version of its form.

Within a version names are added, and none changes its meaning. Times are seconds since the epoch. What a task has
written may have lone surrogates; they are escaped, as JSON can.
"""

import json
import traceback
from collections.abc import Iterable
from typing import Any

from scaler_notebook.client.executor import NotebookExecutor
from scaler_notebook.client.futures.completion import wait
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.session_log.history import HistoryRecord
from scaler_notebook.protocol.messages import EngineStatus

VERSION = 1


def show(**names: Any) -> None:
    """Print a document with these names."""
    print(json.dumps({"version": VERSION, **names}, indent=2))


def task(record: HistoryRecord) -> dict[str, Any]:
    """Return the form of a task of the session.

    ``state`` is ``queued``, ``running``, ``cancelling``, ``done``, ``failed`` or ``cancelled``; ``reason`` says why a
    task is cancelled, and ``error`` is the last line of a failure's traceback.
    """
    now = record.now()
    return {
        "id": record.task_id,
        "call": record.call,
        "state": record.words.partition(":")[0],
        "reason": now.reason.value if now.reason is not None else None,
        "error": now.error,
        "submitted_at": record.submitted_at,
        "started_at": now.started_at,
        "ended_at": now.ended_at,
    }


def tasks(records: Iterable[HistoryRecord]) -> list[dict[str, Any]]:
    """Return the forms of several tasks."""
    return [task(record) for record in records]


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
        lines = "".join(traceback.format_exception(error))
        return {"error": {"type": type(error).__qualname__, "message": str(error), "traceback": lines}}
    value = future.result()
    return {"text": repr(value), **({"value": value} if _is_json(value) else {})}


def _is_json(value: Any) -> bool:
    """Return whether JSON has a value as it is, so that a reader gets an equal one."""
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except Exception:
        return False
