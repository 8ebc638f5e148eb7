"""``scaler-notebook status`` and ``stop``: the user's engines, found by their connection files."""

import argparse
import contextlib
import json
import os
import select
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from scaler_notebook.engines.local.client.addresses import checked
from scaler_notebook.engines.local.client.attached import ProcessWatch
from scaler_notebook.engines.local.client.connection_file import ConnectionInfo, engines, seconds_since
from scaler_notebook.engines.local.client.request import ask
from scaler_notebook.protocol.messages import ClientShutdown, ClientShutdownResponse, EngineStatus, EngineStatusRequest

ANSWER_TIMEOUT = 2.0  # seconds; an engine that lives answers in a millisecond
END_TIMEOUT = 5.0  # seconds until an engine that was asked to end must have ended

NONE = "no engine of yours runs on this machine"
HEADS = ("ADDRESS", "PID", "OWNER", "WORKERS", "RUNNING", "QUEUED", "UPTIME")


def status(options: argparse.Namespace) -> int:
    """List them."""
    found = _described(engines())
    if options.json:
        print(json.dumps(found, indent=2))
    elif found:
        print("\n".join(_lines([HEADS, *map(_row, found)])))
    else:
        print(NONE)
    return 0


def stop(options: argparse.Namespace) -> int:
    """End one of them, or all clusters."""
    there = engines()
    if options.all:
        wanted = [engine for engine in there if engine.owner == "cluster" or options.force]
        if not wanted:
            print("no cluster of yours runs on this machine")
    else:
        try:
            address = checked(options.ADDRESS)
        except ValueError as error:
            return _complain(str(error))
        wanted = [engine for engine in there if engine.address == address]
        if not wanted:
            return _complain(f"no engine of yours runs at {address}; `scaler-notebook status` lists those that do")
    return max([_stop(engine, options.force) for engine in wanted], default=0)


def _stop(engine: ConnectionInfo, force: bool) -> int:
    if engine.owner != "cluster" and not force:
        return _complain(
            f"{engine.address} is the own engine of {_owner(engine)}, and ends with it; --force ends it all the same"
        )
    found = ask(engine, EngineStatusRequest(), EngineStatus, ANSWER_TIMEOUT)
    try:
        watch = ProcessWatch(engine.pid)
    except ProcessLookupError:
        ended = True
    else:
        with contextlib.closing(watch):
            if force:
                ended = any(_signalled(engine, watch, number) for number in (signal.SIGTERM, signal.SIGKILL))
            else:
                answer = ask(engine, ClientShutdown(), ClientShutdownResponse, ANSWER_TIMEOUT)
                if answer is not None and not answer.accepted:
                    return _complain(f"the cluster at {engine.address} is protected; --force ends it all the same")
                ended = _over(watch, END_TIMEOUT if answer is not None else 0.1)
    if not ended:
        hint = "" if force else "; --force kills it"
        return _complain(f"the engine at {engine.address} (process {engine.pid}) does not end: it hangs{hint}")
    lost = _running(found) + found.queued if found is not None else 0
    tasks = f", and {lost} unfinished task{'s' if lost != 1 else ''} with it" if lost else ""
    print(f"ended {engine.address}{tasks}")
    return 0


def _signalled(engine: ConnectionInfo, watch: ProcessWatch, number: signal.Signals) -> bool:
    if engine.lives:  # else its number may be another's by now
        with contextlib.suppress(ProcessLookupError):
            os.kill(engine.pid, number)
    return _over(watch, END_TIMEOUT)


def _over(watch: ProcessWatch, timeout: float) -> bool:
    return bool(select.select([watch.descriptor], [], [], timeout)[0])


def _complain(text: str) -> int:
    print(f"scaler-notebook: {text}", file=sys.stderr)
    return 1


def _described(found: Sequence[ConnectionInfo]) -> list[dict[str, Any]]:
    """For each engine what ``--json`` shows of it."""
    with ThreadPoolExecutor(max(1, len(found))) as pool:  # one that hangs holds up nobody else
        answers = pool.map(lambda engine: ask(engine, EngineStatusRequest(), EngineStatus, ANSWER_TIMEOUT), found)
        return [_description(*pair) for pair in zip(found, answers, strict=True)]


def _description(engine: ConnectionInfo, answer: EngineStatus | None) -> dict[str, Any]:
    return {
        "address": engine.address,
        "pid": engine.pid,
        "owner": engine.owner,
        "owner_pid": engine.owner_pid,
        "title": engine.title,
        "protected": engine.protected,
        "workers": answer.slots if answer is not None else None,
        "running": _running(answer) if answer is not None else None,
        "queued": answer.queued if answer is not None else None,
        "uptime": round(seconds_since(engine.started), 1),
    }


def _running(answer: EngineStatus) -> int:
    return sum(map(bool, answer.tasks))


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    owner = " ".join(filter(None, (found["owner"], found["title"], f"({found['owner_pid']})")))
    protected = ", protected" if found["protected"] and found["owner"] == "cluster" else ""
    numbers = [found["workers"], found["running"], found["queued"]]
    counts = ["does not answer", "", ""] if found["workers"] is None else map(str, numbers)
    return found["address"], str(found["pid"]), owner + protected, *counts, _duration(found["uptime"])


def _owner(engine: ConnectionInfo) -> str:
    return f"the {engine.owner} {engine.title or 'without a name'} (process {engine.owner_pid})"


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _duration(seconds: float) -> str:
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
