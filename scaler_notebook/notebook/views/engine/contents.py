"""The contents of an executor's view: one structure for the live form and the static ones."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypedDict

from scaler_notebook.client import engine_report
from scaler_notebook.client.engine_client import EngineClient
from scaler_notebook.client.engine_report import EngineReport, EngineState
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.notebook.views.board.board_row import ENDED, KINDS, Kind, kind_of
from scaler_notebook.notebook.views.static.terminal_text import one_line
from scaler_notebook.protocol.messages import EngineStatus

from .samples import ProcessSamples

MAX_GROUPS = 12  # that a view shows: the newest


class Worker(TypedDict):
    """One task process."""

    pid: int
    task: str  # the id of the task that it runs, or nothing
    call: str  # ... as a person reads it; empty for another client's
    started_at: float | None
    gpus: str  # the devices that it has begun with
    cpu: list[float]  # percent of a core, the newest sample last
    memory: list[int]  # bytes


class Group(TypedDict):
    """One group of futures."""

    name: str
    cell: int | None
    counts: dict[Kind, int]


class Contents(TypedDict):
    """Everything that a view shows."""

    state: EngineState
    address: str
    can_pause: bool
    slots: int
    gpus: list[str]
    queued: int
    workers: list[Worker]
    groups: list[Group]


class ContentsReader:
    """A reader of what the view of an executor shows; on one thread.

    Parameters
    ----------
    executor
        Returns the executor; None if it is gone.
    """

    def __init__(self, executor: Callable[[], EngineClient | None]) -> None:
        self._executor = executor
        self._samples = ProcessSamples()
        # The ids of the tasks of each group whose tasks have ended, and their counts: a retry changes the ids.
        self._settled = weakref.WeakKeyDictionary[FutureGroup[Any], tuple[list[str], dict[Kind, int]]]()

    def sample(self) -> None:
        """Take a sample of each process that the engine's last answer names."""
        status = self._report().status
        self._samples.take(status.processes if status is not None else ())

    @property
    def is_over(self) -> bool:
        """Whether the executor takes no more tasks."""
        return self._report().state == "shut down"

    def read(self, samples: int = 1) -> Contents:
        """Return the contents as they are now.

        Parameters
        ----------
        samples
            How many of the latest samples of each process are in them.
        """
        report = self._report()
        status, workers = report.status, list[Worker]()
        for pid, task, gpus in _processes(status) if status is not None else ():
            known = (report.tasks or {}).get(task)
            taken = self._samples.of(pid)[-samples:]
            workers.append(
                {
                    "pid": pid,
                    "task": task,
                    "call": one_line(known.call) if known is not None else "",
                    "started_at": known.started_at if known is not None else None,
                    "gpus": gpus,
                    "cpu": [round(each.cpu, 1) for each in taken],
                    "memory": [each.memory for each in taken],
                }
            )
        return {
            "state": report.state,
            "address": report.address,
            "can_pause": report.can_pause,
            "slots": report.slots,
            "gpus": list(report.gpus),
            "queued": status.queued if status is not None else 0,
            "workers": workers,
            "groups": self._groups(),
        }

    def _report(self) -> EngineReport:
        """Return what is known of the engine."""
        executor = self._executor()
        return EngineReport("shut down") if executor is None else engine_report.report(executor)

    def _groups(self) -> list[Group]:
        """Return the newest groups with their counts."""
        shown: list[Group] = []
        executor = self._executor()
        for group, cell in engine_report.groups(executor)[:MAX_GROUPS] if executor is not None else ():
            shown.append({"name": group.name, "cell": cell, "counts": self._counts(group)})
        return shown

    def _counts(self, group: FutureGroup[Any]) -> dict[Kind, int]:
        """Count the tasks of a group by their kinds."""
        futures = list(group)  # once: a retry replaces some of them
        tasks = [future.task_id for future in futures]
        known = self._settled.get(group)
        if known is not None and known[0] == tasks:
            return known[1]
        kinds = Counter(map(kind_of, futures))
        counts = {kind: kinds[kind] for kind in KINDS if kinds[kind]}
        if all(KINDS.index(kind) in ENDED for kind in counts):
            self._settled[group] = tasks, counts
        return counts


def with_latest(contents: Contents, samples: int) -> Contents:
    """Return contents with fewer samples of each process.

    Parameters
    ----------
    contents
        The contents.
    samples
        How many of the latest samples stay; at least one.
    """
    workers: list[Worker] = [
        {**worker, "cpu": worker["cpu"][-samples:], "memory": worker["memory"][-samples:]}
        for worker in contents["workers"]
    ]
    return {**contents, "workers": workers}


def _processes(status: EngineStatus) -> Iterator[tuple[int, str, str]]:
    """Yield each task process of an answer, with its task and its devices."""
    return zip(status.processes, status.tasks, status.gpus or ("",) * len(status.processes), strict=True)
