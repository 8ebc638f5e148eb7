"""The user's engines on this machine, found by their connection files and asked: the forms in JSON of what they say."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from scaler_notebook.engines.local.client.addresses import checked
from scaler_notebook.engines.local.client.connection_file import ConnectionInfo, seconds_since
from scaler_notebook.engines.local.client.connection_file import engines as engines
from scaler_notebook.engines.local.client.request import ask
from scaler_notebook.protocol.encoding.json_forms import escaped
from scaler_notebook.protocol.messages import (
    ClientMessage,
    EngineMessage,
    EngineStatus,
    EngineStatusRequest,
    EngineTasks,
    EngineTasksRequest,
    TaskBrief,
)

ANSWER_TIMEOUT = 2.0  # seconds; an engine that lives answers in a millisecond

M = TypeVar("M", bound=EngineMessage)


def engine_forms() -> list[dict[str, Any]]:
    """Return the forms of all engines, the oldest first."""
    return [escaped(_engine_form(*answer)) for answer in _ask_all(engines(), EngineStatusRequest(), EngineStatus)]


def task_forms(address: str | None = None) -> list[dict[str, Any]]:
    """Return the forms of all engines' unfinished tasks, whichever client has submitted them.

    Parameters
    ----------
    address
        Those of this engine alone; None for all.

    Raises
    ------
    ValueError
        It is no address, or none of the user's engines is there.
    """
    asked = engines() if address is None else at(address)
    return [escaped(_tasks_form(*answer)) for answer in _ask_all(asked, EngineTasksRequest(), EngineTasks)]


def at(address: str) -> list[ConnectionInfo]:
    """Return the engine at an address, in a list.

    Raises
    ------
    ValueError
        It is no address, or none of the user's engines is there.
    """
    address = checked(address)
    found = [engine for engine in engines() if engine.address == address]
    if not found:
        raise ValueError(f"no engine of yours runs at {address}; `scaler-notebook status` lists those that do")
    return found


def _ask_all(
    found: Sequence[ConnectionInfo], question: ClientMessage, kind: type[M]
) -> list[tuple[ConnectionInfo, M | None]]:
    """Ask all engines at the same time, so that an engine that hangs delays no other's answer.

    Parameters
    ----------
    found
        The engines.
    question
        What they are asked.
    kind
        The class of the answer.

    Returns
    -------
    list
        Each engine with its answer; None if it does not answer.
    """
    with ThreadPoolExecutor(max(1, len(found))) as pool:
        answers = pool.map(lambda engine: ask(engine, question, kind, ANSWER_TIMEOUT), found)
        return list(zip(found, answers, strict=True))


def _engine_form(engine: ConnectionInfo, answer: EngineStatus | None) -> dict[str, Any]:
    """Return the form of an engine.

    Parameters
    ----------
    engine
        The engine, by its connection file.
    answer
        What the engine says of itself; None if it does not answer.
    """
    return {
        "address": engine.address,
        "pid": engine.pid,
        "owner": engine.owner,
        "owner_pid": engine.owner_pid,
        "title": engine.title,
        "protected": engine.protected,
        "workers": answer.slots if answer is not None else None,
        "running": running_tasks(answer) if answer is not None else None,
        "queued": answer.queued if answer is not None else None,
        "uptime": round(seconds_since(engine.started), 1),
    }


def running_tasks(answer: EngineStatus) -> int:
    """Count the tasks that an engine runs."""
    return sum(map(bool, answer.tasks))


def _tasks_form(engine: ConnectionInfo, answer: EngineTasks | None) -> dict[str, Any]:
    """Return the form of an engine's unfinished tasks.

    Parameters
    ----------
    engine
        The engine, by its connection file.
    answer
        The tasks; None if the engine does not answer.
    """
    return {
        "address": engine.address,
        "tasks": list(map(_task_form, answer.tasks)) if answer is not None else None,
        "omitted": answer.omitted if answer is not None else None,
    }


def _task_form(task: TaskBrief) -> dict[str, Any]:
    """Return the form of an unfinished task of any client."""
    return {
        "id": task.task_id,
        "call": task.name,
        "state": task.activity.value,
        "submitted_at": task.submitted,
        "started_at": task.started or None,
        "pid": task.process or None,
    }
