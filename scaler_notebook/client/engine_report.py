"""Reports about a client's engine, for views: made without a wait, and without starting the engine."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.client.session_log.live_groups import SubmittedGroup, living
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.protocol.messages import EngineStatus

from .engine_client import EngineClient

EngineState: TypeAlias = Literal["not started", "running", "paused", "lost", "shut down"]


@dataclass(frozen=True)
class EngineReport:
    """The state of an engine, as far as it is known.

    Parameters
    ----------
    state
        The state, as a person reads it.
    address
        The address; empty if the engine is not started.
    slots
        How many tasks run at the same time; 0 if the engine does not tell.
    can_pause
        Whether the client can be paused there.
    status
        The last answer of the engine; None before the first one.
    tasks
        By id, those of the client's tasks that the answer names as running.
    gpus
        The names of the devices that tasks may be given.
    """

    state: EngineState
    address: str = ""
    slots: int = 0
    can_pause: bool = False
    status: EngineStatus | None = None
    tasks: dict[str, ObservedTask] | None = None
    gpus: tuple[str, ...] = ()


def ask(client: EngineClient) -> None:
    """Ask an engine that runs for the answer that a later report has; never blocks."""
    session = client._current.session
    if session is not None and session.alive:
        session.requests.ask()


def report(client: EngineClient) -> EngineReport:
    """Return what is known of the engine of a client."""
    session = client._current.session
    if session is None:
        return EngineReport("shut down" if client.is_shut_down else "not started")
    if not session.alive:
        return EngineReport("shut down" if client.is_shut_down else "lost")
    status = session.requests.last_status
    found = {name: session.find(name) for name in (status.tasks if status is not None else ()) if name}
    return EngineReport(
        "paused" if session.pause.is_on else "running",
        session.address,
        session.engine.slots,
        session.engine.can_pause,
        status,
        {name: task for name, task in found.items() if task is not None},
        session.engine.gpus or (),
    )


def groups(client: EngineClient) -> list[SubmittedGroup]:
    """Return the groups of a client's present engine that somebody holds, the newest first."""
    session = client._current.session
    return [known for known in living() if _session_of(known.group) is session]


def _session_of(group: FutureGroup[object]) -> object:
    """Return the session of a group's tasks."""
    return group[0].session if group else None
