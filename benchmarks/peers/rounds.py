"""Interleaved rounds: within one, the peers take turns at each case, and another begins each time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..machine import ROOT
from .adapters import PEERS
from .cases.calls import BEGAN
from .floor import FLOORS
from .processes import MARK, end_run

Run = dict[str, Any]  # what ``run.py`` wrote, and of which peer, case and round that is


def is_installed(peer: str) -> bool:
    """Can a peer be imported in this environment?"""
    return peer in FLOORS or find_spec(PEERS[peer].module) is not None


def has_case(peer: str, case: str) -> bool:
    """Is a case measured of a peer, or of a floor?

    Parameters
    ----------
    peer
        The name of a peer or floor.
    case
        The name of a case.
    """
    if peer in FLOORS:
        return case in FLOORS[peer]
    only = PEERS[peer].cases
    return only is None or case in only


def run_rounds(peers: Sequence[str], cases: Sequence[str], rounds: int, quick: bool, timeout: float) -> Iterator[Run]:
    """Run every case of every peer so many times, each in a process of its own.

    Parameters
    ----------
    peers, cases
        Names; a peer that is not installed is left out.
    rounds
        How often.
    quick
        With few calls, and no rehearsal: only to see that everything runs.
    timeout
        Seconds after which a run is killed.
    """
    for case in cases:
        there = [peer for peer in peers if is_installed(peer) and has_case(peer, case)]
        if case == "cold_start" and not quick:  # bytecode is written, and files are in the system's memory
            for peer in there:
                run_once(peer, case, quick, timeout)
        for number in range(rounds):
            first = number % max(1, len(there))
            for peer in there[first:] + there[:first]:
                yield {**run_once(peer, case, quick, timeout), "peer": peer, "case": case, "round": number}


def run_once(peer: str, case: str, quick: bool, timeout: float) -> Run:
    """Run one case of one peer in a new interpreter, and end whatever is left of the run.

    Parameters
    ----------
    peer
        The name of a peer or floor.
    case
        The name of a case.
    quick
        With few calls.
    timeout
        Seconds after which the run is killed.
    """
    directory = Path(tempfile.mkdtemp(prefix="p"))
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, MARK: mark, "TMPDIR": str(directory), "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", f"{__package__}.run", peer, case, str(directory / "outcome.json")]
    load, began = os.getloadavg()[0], time.monotonic()
    try:
        with (directory / "log").open("w") as log:
            process = subprocess.Popen(
                [*command, "--quick"] if quick else command,
                env={**environment, BEGAN: repr(time.monotonic())},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=directory,
                start_new_session=True,
            )
            try:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout)
            finally:  # after an interrupt, too
                process.kill()
                process.wait()
                end_run(mark)
        return {**_outcome(directory, timeout), "load": round(load, 2), "took": round(time.monotonic() - began, 1)}
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _outcome(directory: Path, timeout: float) -> Run:
    try:
        found: Run = json.loads((directory / "outcome.json").read_text())
    except (OSError, ValueError):
        tail = " ".join((directory / "log").read_text(errors="replace").split())[-300:]
        found = {"error": f"no outcome within {timeout:.0f} s: {tail}".replace(str(directory), "$TMPDIR")}
    return found
