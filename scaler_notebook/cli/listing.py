"""``scaler-notebook status``, ``tasks`` and ``stop``: the user's engines, found by their connection files."""

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from scaler_notebook.engines.local.client.addresses import checked
from scaler_notebook.engines.local.client.attached import ProcessWatch
from scaler_notebook.engines.local.client.connection_file import ConnectionInfo, engines, seconds_since
from scaler_notebook.engines.local.client.request import ask
from scaler_notebook.protocol.messages import (
    ClientMessage,
    ClientShutdown,
    ClientShutdownResponse,
    EngineMessage,
    EngineStatus,
    EngineStatusRequest,
    EngineTasks,
    EngineTasksRequest,
    TaskBrief,
)

ANSWER_TIMEOUT = 2.0  # seconds; an engine that lives answers in a millisecond
END_TIMEOUT = 5.0  # seconds until an engine that was asked to end must have ended

VERSION = 1  # of the form of what ``--json`` prints: within a version names are added, and none changes its meaning
M = TypeVar("M", bound=EngineMessage)

NO_ENGINES = "no engine of yours runs on this machine"
NO_TASKS = "nothing runs or waits there"
HEADINGS = ("ADDRESS", "PID", "OWNER", "WORKERS", "RUNNING", "QUEUED", "UPTIME")
TASK_HEADINGS = ("ADDRESS", "TASK", "CALL", "STATE", "FOR")
MAX_CALL = 60  # characters of a call in the table


def status(options: argparse.Namespace) -> int:
    """List the user's engines on this machine."""
    answers = _ask_all(engines(), EngineStatusRequest(), EngineStatus)
    found = [_status_fields(*answer) for answer in answers]
    if options.json:
        _print_document(engines=found)
    elif found:
        print("\n".join(_table_lines([HEADINGS, *map(_table_row, found)])))
    else:
        print(NO_ENGINES)
    return 0


def tasks(options: argparse.Namespace) -> int:
    """List what the user's engines run, and what waits there, whoever has submitted it."""
    there = engines()
    if options.ADDRESS is not None:
        try:
            there = _at(options.ADDRESS, there)
        except ValueError as error:
            return _report_error(str(error))
    answers = _ask_all(there, EngineTasksRequest(), EngineTasks)
    if options.json:
        _print_document(engines=[_task_fields(*answer) for answer in answers])
        return 0
    rows = [row for answer in answers for row in _task_rows(*answer)]
    print("\n".join(_table_lines([TASK_HEADINGS, *rows])) if rows else NO_TASKS if there else NO_ENGINES)
    return 0


def stop(options: argparse.Namespace) -> int:
    """End the engine at an address, or all clusters."""
    there = engines()
    if options.all:
        wanted = [engine for engine in there if engine.owner == "cluster" or options.force]
        if not wanted:
            print("no cluster of yours runs on this machine")
    else:
        try:
            wanted = _at(options.ADDRESS, there)
        except ValueError as error:
            return _report_error(str(error))
    return max([_stop(engine, options.force) for engine in wanted], default=0)


def _at(address: str, there: Sequence[ConnectionInfo]) -> list[ConnectionInfo]:
    """Return the engine at an address, in a list.

    Parameters
    ----------
    address
        The address, as the user has typed it.
    there
        The user's engines.

    Raises
    ------
    ValueError
        It is no address, or none of the user's engines is there.
    """
    address = checked(address)
    found = [engine for engine in there if engine.address == address]
    if not found:
        raise ValueError(f"no engine of yours runs at {address}; `scaler-notebook status` lists those that do")
    return found


def _stop(engine: ConnectionInfo, force: bool) -> int:
    """End one engine and print what became of it.

    Parameters
    ----------
    engine
        The engine.
    force
        End a protected cluster or a notebook's own engine too, and kill an engine that does not end.

    Returns
    -------
    int
        The exit status: 0 if the engine has ended.
    """
    if engine.owner != "cluster" and not force:
        return _report_error(
            f"{engine.address} is the own engine of {_owner_text(engine)}, and ends with it; --force "
            "ends it all the same"
        )
    found = ask(engine, EngineStatusRequest(), EngineStatus, ANSWER_TIMEOUT)
    try:
        watch = ProcessWatch(engine.pid)
    except ProcessLookupError:
        ended = True
    else:
        with contextlib.closing(watch):
            if force:
                ended = any(_signal_and_wait(engine, watch, number) for number in (signal.SIGTERM, signal.SIGKILL))
            else:
                answer = ask(engine, ClientShutdown(), ClientShutdownResponse, ANSWER_TIMEOUT)
                if answer is not None and not answer.accepted:
                    return _report_error(f"the cluster at {engine.address} is protected; --force ends it all the same")
                ended = watch.wait(END_TIMEOUT if answer is not None else 0.1)
    if not ended:
        hint = "" if force else "; --force kills it"
        return _report_error(f"the engine at {engine.address} (process {engine.pid}) does not end: it hangs{hint}")
    lost = _running_tasks(found) + found.queued if found is not None else 0
    tasks = f", and {lost} unfinished task{'s' if lost != 1 else ''} with it" if lost else ""
    print(f"ended {engine.address}{tasks}")
    return 0


def _signal_and_wait(engine: ConnectionInfo, watch: ProcessWatch, number: signal.Signals) -> bool:
    """Send a signal to an engine, and wait for its end.

    Parameters
    ----------
    engine
        The engine.
    watch
        A watch on its process.
    number
        The signal.

    Returns
    -------
    bool
        Whether the engine has ended in time.
    """
    if engine.lives:  # else another process may have its number by now
        with contextlib.suppress(ProcessLookupError):
            os.kill(engine.pid, number)
    return watch.wait(END_TIMEOUT)


def _report_error(text: str) -> int:
    """Print an error message; gives the exit status of a failure."""
    print(f"scaler-notebook: {text}", file=sys.stderr)
    return 1


def _print_document(**names: Any) -> None:
    """Print a JSON object with these names for a program to read."""
    print(json.dumps({"version": VERSION, **names}, indent=2))


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


def _status_fields(engine: ConnectionInfo, answer: EngineStatus | None) -> dict[str, Any]:
    """Build the object that ``status --json`` prints for one engine.

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
        "running": _running_tasks(answer) if answer is not None else None,
        "queued": answer.queued if answer is not None else None,
        "uptime": round(seconds_since(engine.started), 1),
    }


def _running_tasks(answer: EngineStatus) -> int:
    """Count the tasks that an engine runs."""
    return sum(map(bool, answer.tasks))


def _task_fields(engine: ConnectionInfo, answer: EngineTasks | None) -> dict[str, Any]:
    """Build the object that ``tasks --json`` prints for one engine.

    Parameters
    ----------
    engine
        The engine, by its connection file.
    answer
        The engine's unfinished tasks; None if it does not answer.
    """
    return {
        "address": engine.address,
        "tasks": list(map(task_form, answer.tasks)) if answer is not None else None,
        "omitted": answer.omitted if answer is not None else None,
    }


def task_form(task: TaskBrief) -> dict[str, Any]:
    """Return the form in JSON of an unfinished task of any client."""
    return {
        "id": task.task_id,
        "call": task.name,
        "state": task.activity.value,
        "submitted_at": task.submitted,
        "started_at": task.started or None,
        "pid": task.process or None,
    }


def _task_rows(engine: ConnectionInfo, answer: EngineTasks | None) -> list[tuple[str, ...]]:
    """Build the rows of the table for an engine's tasks, of the parameters of :func:`_task_fields`."""
    if answer is None:
        return [(engine.address, "does not answer", "", "", "")]
    now = time.time()
    rows: list[tuple[str, ...]] = []
    for task in answer.tasks:
        call = " ".join(task.name.split())
        call = call if len(call) <= MAX_CALL else f"{call[: MAX_CALL - 1]}…"
        since = max(0.0, now - (task.started or task.submitted))
        rows.append((engine.address, task.task_id, call, task.activity.value, _uptime_text(since)))
    return rows + [(engine.address, f"and {answer.omitted} more", "", "", "")] * bool(answer.omitted)


def _table_row(found: dict[str, Any]) -> tuple[str, ...]:
    """Build an engine's row of the table, from the object that ``status --json`` prints."""
    owner = " ".join(filter(None, (found["owner"], found["title"], f"({found['owner_pid']})")))
    protected = ", protected" if found["protected"] and found["owner"] == "cluster" else ""
    numbers = [found["workers"], found["running"], found["queued"]]
    counts = ["does not answer", "", ""] if found["workers"] is None else map(str, numbers)
    return found["address"], str(found["pid"]), owner + protected, *counts, _uptime_text(found["uptime"])


def _owner_text(engine: ConnectionInfo) -> str:
    """Name the owner of an engine for a person."""
    return f"the {engine.owner} {engine.title or 'without a name'} (process {engine.owner_pid})"


def _table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Write rows as lines, their columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _uptime_text(seconds: float) -> str:
    """Write a time in seconds for a person, in its two largest units."""
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
