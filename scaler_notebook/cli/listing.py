"""``scaler-notebook status``, ``tasks`` and ``stop``: the user's engines, found by their connection files."""

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from scaler_notebook.engines.local.client.attached import ProcessWatch
from scaler_notebook.engines.local.client.connection_file import ConnectionInfo
from scaler_notebook.engines.local.client.request import ask
from scaler_notebook.protocol.encoding.json_forms import document, escaped
from scaler_notebook.protocol.messages import ClientShutdown, ClientShutdownResponse, EngineStatus, EngineStatusRequest
from scaler_notebook.wording import counted

from . import user_engines

END_TIMEOUT = 5.0  # seconds until an engine that was asked to end must have ended

NO_ENGINES = "no engine of yours runs on this machine"
NO_TASKS = "nothing runs or waits there"
HEADINGS = ("ADDRESS", "PID", "OWNER", "WORKERS", "RUNNING", "QUEUED", "UPTIME")
TASK_HEADINGS = ("ADDRESS", "TASK", "CALL", "STATE", "FOR")
MAX_CALL = 60  # characters of a call in the table


def status(options: argparse.Namespace) -> int:
    """List the user's engines on this machine."""
    found = user_engines.engine_forms()
    if options.json:
        print(document(engines=found))
    elif found:
        print("\n".join(_table_lines([HEADINGS, *map(_table_row, found)])))
    else:
        print(NO_ENGINES)
    return 0


def tasks(options: argparse.Namespace) -> int:
    """List what the user's engines run, and what waits there, whoever has submitted it."""
    try:
        found = user_engines.task_forms(options.ADDRESS)
    except ValueError as error:
        return _report_error(str(error))
    if options.json:
        print(document(engines=found))
        return 0
    rows = [row for engine in found for row in _task_rows(engine)]
    print("\n".join(_table_lines([TASK_HEADINGS, *rows])) if rows else NO_TASKS if found else NO_ENGINES)
    return 0


def stop(options: argparse.Namespace) -> int:
    """End the engine at an address, or all clusters."""
    if options.all:
        wanted = [engine for engine in user_engines.engines() if engine.owner == "cluster" or options.force]
        if not wanted:
            print("no cluster of yours runs on this machine")
    else:
        try:
            wanted = user_engines.at(options.ADDRESS)
        except ValueError as error:
            return _report_error(str(error))
    return max([_stop(engine, options.force) for engine in wanted], default=0)


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
    found = ask(engine, EngineStatusRequest(), EngineStatus, user_engines.ANSWER_TIMEOUT)
    try:
        watch = ProcessWatch(engine.pid)
    except ProcessLookupError:
        ended = True
    else:
        with contextlib.closing(watch):
            if force:
                ended = any(_signal_and_wait(engine, watch, number) for number in (signal.SIGTERM, signal.SIGKILL))
            else:
                answer = ask(engine, ClientShutdown(), ClientShutdownResponse, user_engines.ANSWER_TIMEOUT)
                if answer is not None and not answer.accepted:
                    return _report_error(f"the cluster at {engine.address} is protected; --force ends it all the same")
                ended = watch.wait(END_TIMEOUT if answer is not None else 0.1)
    if not ended:
        hint = "" if force else "; --force kills it"
        return _report_error(f"the engine at {engine.address} (process {engine.pid}) does not end: it hangs{hint}")
    lost = user_engines.running_tasks(found) + found.queued if found is not None else 0
    tasks = f", and {counted(lost, 'unfinished task')} with it" if lost else ""
    print(escaped(f"ended {engine.address}{tasks}"))
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
    print(escaped(f"scaler-notebook: {text}"), file=sys.stderr)
    return 1


def _task_rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Build the rows of the table for an engine's tasks, from the object that ``tasks --json`` prints."""
    address, tasks, omitted = found["address"], found["tasks"], found["omitted"]
    if tasks is None:
        return [(address, "does not answer", "", "", "")]
    now = time.time()
    rows: list[tuple[str, ...]] = []
    for task in tasks:
        call = " ".join(task["call"].split())
        call = call if len(call) <= MAX_CALL else f"{call[: MAX_CALL - 1]}…"
        since = max(0.0, now - (task["started_at"] or task["submitted_at"]))
        rows.append((address, task["id"], call, task["state"], _uptime_text(since)))
    return rows + [(address, f"and {omitted} more", "", "", "")] * bool(omitted)


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
