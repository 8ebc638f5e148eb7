"""Every peer, case by case: ``python -m benchmarks.peers``, in the environment that ``setup.sh`` makes (Linux)."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from ..machine import ROOT, describe_machine, refuse_elsewhere
from .adapters import PEERS
from .cases import CASES
from .floor import FLOORS
from .peer import WORKERS
from .report import as_json, as_markdown
from .rounds import Run, run_rounds
from .sizes import sizes_of

OUTPUT = ROOT / "output"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line says, print the table, and write it and the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--peers", default=",".join([*PEERS, *FLOORS]), help="which, separated by commas (%(default)s)")
    parser.add_argument("--cases", default=",".join(CASES), help="which, separated by commas (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--timeout", type=float, default=300, help="seconds until a run is killed (300)")
    parser.add_argument("--quick", action="store_true", help="one round of few calls: does it run? No figures")
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help="directory of peers.md and peers.json (%(default)s)"
    )
    options = parser.parse_args(arguments)
    refuse_elsewhere()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # no run is left behind
    peers, cases = _names(parser, options.peers, [*PEERS, *FLOORS]), _names(parser, options.cases, list(CASES))
    sizes, rounds = sizes_of(options.quick), 1 if options.quick else options.rounds
    about = {"machine": describe_machine(), "workers": WORKERS, "rounds": rounds}
    if options.quick:
        about["quick"] = "few calls, once each: the figures mean nothing"
    options.output.mkdir(parents=True, exist_ok=True)
    runs: list[Run] = []
    for run in run_rounds(peers, cases, rounds, options.quick, options.timeout):
        runs.append(run)
        print(f"{run['case']} {run['round'] + 1}/{rounds} {run['peer']}: {_state(run)}, {run['took']} s", flush=True)
        (options.output / "peers.json").write_text(json.dumps(as_json(runs, sizes, about), indent=1) + "\n")
    table = as_markdown(runs, peers, sizes, about)
    (options.output / "peers.md").write_text(table)
    print(f"\n{table}")


def _names(parser: argparse.ArgumentParser, text: str, known: Sequence[str]) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"{', '.join(unknown)}: not one of {', '.join(known)}")
    return names


def _state(run: Run) -> str:
    if "error" in run:
        return f"error: {run['error']}"
    return "cannot " + ", ".join(run["cannot"]) if run.get("cannot") else "complete"


if __name__ == "__main__":
    main()
