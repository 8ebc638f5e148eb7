"""Messages that an engine sends about a task, as a test writes them."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.exceptions import failures
from scaler_notebook.protocol.messages import Payload, TaskDisplay, TaskResult, TaskResultType, TaskStarted
from scaler_notebook.task.display.summary import summary

OWN_FILES = (str(Path(__file__).parents[2]),)


class HasTaskId(Protocol):
    """A future, or a message about a task."""

    @property
    def task_id(self) -> str:
        """The id of the task."""


TaskReference: TypeAlias = str | HasTaskId


def task_id_of(which: TaskReference) -> str:
    """Return the id of a task that is named by its future, by a message, or by the id itself."""
    return which if isinstance(which, str) else which.task_id


def started(task_id: str) -> TaskStarted:
    """Return the message that a task has started."""
    return TaskStarted(task_id, "memory", time.time())


def succeeded(task_id: str, value: Any) -> TaskResult:
    """Return the message that a task returned ``value``.

    Parameters
    ----------
    task_id
        The id of the task.
    value
        The value.

    Raises
    ------
    Exception
        Whatever pickling the value raises.
    """
    return TaskResult(task_id, TaskResultType.SUCCESS, payloads.dump(value), summary=summary(value).unaccompanied())


def failed(task_id: str, error: BaseException) -> TaskResult:
    """Return the message that a task raised an exception.

    Parameters
    ----------
    task_id
        The id of the task.
    error
        The exception.
    """
    return TaskResult(task_id, TaskResultType.FAILED, payloads.dump(failures.capture(error, OWN_FILES)))


def displayed(task_id: str, bundle: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> TaskDisplay:
    """Return the message that a task displays a MIME bundle.

    Parameters
    ----------
    task_id
        The id of the task.
    bundle
        The data by MIME type.
    metadata
        The metadata of the bundle.
    """
    data, about = (json.dumps(dict(part or {})).encode() for part in (bundle, metadata))
    return TaskDisplay(task_id, Payload(data), Payload(about))


def worker_died(task_id: str, how: str) -> TaskResult:
    """Return the message that the process of a task died.

    Parameters
    ----------
    task_id
        The id of the task.
    how
        The beginning of the error's message.
    """
    return TaskResult(task_id, TaskResultType.FAILED_WORKER_DIED, Payload(how.encode()))
