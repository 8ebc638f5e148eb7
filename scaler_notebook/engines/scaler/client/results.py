"""How a task ended, from what Scaler and the task itself have said of it."""

import re
import signal
from dataclasses import dataclass
from typing import Any

from scaler_notebook.engines.scaler.wire.envelope import ResultHeader, TaskFailedError, failure
from scaler_notebook.engines.scaler.wire.packing import content, unpack
from scaler_notebook.protocol import failures, payloads
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

from .cluster_connection import ClusterConnection
from .object_store import ObjectStore


@dataclass(frozen=True, slots=True)
class FetchedResult:
    """What to tell the client.

    Parameters
    ----------
    object_id
        Of the value, or failure, in the storage; empty for none.
    to_retry
        It failed by an error after which it may be tried again.
    words
        Its last line, for the output of a task that is tried again.
    """

    message: TaskResult
    object_id: bytes = b""
    to_retry: bool = False
    words: str = ""


async def fetch_result(
    task: Task, result: Any, ended: ResultHeader | None, objects: ObjectStore, connection: ClusterConnection
) -> FetchedResult:
    """Fetch what ``result``, Scaler's, refers to; ``ended`` has come by itself, for a value that stays there.

    Raises
    ------
    ProtocolError
        It is none of ours.
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
    """From Scaler's words (2.9, ``utility/exitcode.py``): ``… exitcode=-9 (SIGKILL)``."""
    found = re.search(r"exitcode=(-?\d+)", text)
    code = int(found[1]) if found is not None else None
    if code is None:
        return "the task's process at its worker died", NO_PROCESS_EXIT
    if code >= 0:
        return f"the task's process at its worker died: it exited with code {code}", ProcessExit(exit_code=code)
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"the task's process at its worker died: killed by {name}", ProcessExit(signal=-code)
