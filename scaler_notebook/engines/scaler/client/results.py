"""The results of tasks at a cluster, made from what Scaler and the tasks themselves have reported."""

import re
import signal
from typing import Any

from scaler_notebook.engines.scaler.wire.envelope import ResultHeader, TaskFailedError, failure
from scaler_notebook.engines.scaler.wire.packing import content, unpack
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.exceptions import failures
from scaler_notebook.protocol.frozen import frozen
from scaler_notebook.protocol.messages import (
    NO_PROCESS_EXIT,
    Payload,
    ProcessExit,
    ResultSummary,
    Task,
    TaskFigures,
    TaskResult,
    TaskResultType,
)
from scaler_notebook.task.task_end import TaskEnd

from .connection.cluster_connection import ClusterConnection
from .object_store import ObjectStore


@frozen
class FetchedResult:
    """The end of a try, fetched from the cluster.

    Parameters
    ----------
    message
        The message for the client.
    object_id
        The object in the storage that holds the value or failure; empty for none.
    to_retry
        Whether the task failed by an error after which it may be tried again.
    words
        The last line of the failure, for the output of a task that is tried again.
    """

    message: TaskResult
    object_id: bytes = b""
    to_retry: bool = False
    words: str = ""


async def fetch_result(
    task: Task, result: Any, ended: ResultHeader | None, objects: ObjectStore, connection: ClusterConnection
) -> FetchedResult:
    """Fetch the value or failure that a result of Scaler's refers to.

    Parameters
    ----------
    task
        The task.
    result
        Scaler's message.
    ended
        The header that the task has sent itself, if its value stays at the cluster.
    objects
        The client's objects.
    connection
        The connection to the cluster.

    Raises
    ------
    ProtocolError
        The result was not made by this package.
    """
    kinds = connection.messages.TaskResultType
    kind, ids = kinds(result.resultType.value), [bytes(each) for each in result.results]
    if kind == kinds.success:
        header, payload = (b"", Payload(b"")) if task.omit_value else await objects.get(ids[0])
        ended = ended if task.omit_value else ResultHeader.decode(header)
        figures, summary = (ended.figures(), ended.summary()) if ended is not None else (TaskFigures(), ResultSummary())
        return FetchedResult(
            TaskResult(task.task_id, TaskResultType.SUCCESS, payload, figures, summary=summary), ids[0]
        )
    error = failure(await connection.get(ids[0])) if ids else None
    object_id = ids[0] if ids else b""
    if isinstance(error, TaskFailedError):
        header, payload = unpack(content(error.blob))
        ended = ResultHeader.decode(header)
        unprepared = ended.how == TaskEnd.UNPREPARED.value
        outcome = TaskResultType.FAILED_INITIALIZER if unprepared else TaskResultType.FAILED
        message = TaskResult(task.task_id, outcome, payload, ended.figures())
        return FetchedResult(message, object_id, ended.how == TaskEnd.FAILED.value, str(error))
    if kind == kinds.failedWorkerDied or type(error).__name__ in ("ProcessorDiedError", "WorkerDiedError"):
        words, cause = _process_exit(str(error or ""))
        text = Payload(words.encode())
        return FetchedResult(
            TaskResult(task.task_id, TaskResultType.FAILED_WORKER_DIED, text, process_exit=cause), object_id
        )
    trouble = RuntimeError(f"the cluster could not run it: {type(error).__name__}: {error}")
    described = payloads.dump(failures.capture(trouble, ()))
    return FetchedResult(TaskResult(task.task_id, TaskResultType.FAILED, described), object_id)


def _process_exit(text: str) -> tuple[str, ProcessExit]:
    """Return how a process died, in words and as a record, from Scaler's text ``… exitcode=-9 (SIGKILL)``.

    The text is made by Scaler 2.9's ``utility/exitcode.py``.
    """
    found = re.search(r"exitcode=(-?\d+)", text)
    code = int(found[1]) if found is not None else None
    if code is None:
        return "the task's process at its worker died", NO_PROCESS_EXIT
    if code >= 0:
        return f"the task's process at its worker died: it exited with code {code}", ProcessExit(exit_code=code)
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"the task's process at its worker died: killed by {name}", ProcessExit(signal=-code)
