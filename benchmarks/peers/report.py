"""Medians of the rounds, as JSON and as one Markdown table."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from .adapters import PEERS
from .floor import FLOORS, TITLES
from .metrics import METRICS, Metric, formatted, words_of
from .rounds import Run, has_case, is_installed
from .sizes import Sizes

Medians = dict[str, dict[str, dict[str, float]]]  # by case, peer and figure


def medians_of(runs: Sequence[Run]) -> Medians:
    """Give the median of each figure over the runs that have it."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for run in runs:
        figures = found.setdefault(run["case"], {}).setdefault(run["peer"], {})
        for name, value in run.get("figures", {}).items():
            figures.setdefault(name, []).append(value)
    return {
        case: {
            peer: {name: statistics.median(values) for name, values in figures.items()}
            for peer, figures in peers.items()
        }
        for case, peers in found.items()
    }


def as_json(runs: Sequence[Run], sizes: Sizes, about: dict[str, Any]) -> dict[str, Any]:
    """Give everything: what the figures belong to, the medians, and each run.

    Parameters
    ----------
    runs
        Every run, of all rounds.
    sizes
        The amounts of the cases.
    about
        What else the figures belong to: the machine, the number of rounds.
    """
    versions = {run["peer"]: run["versions"] for run in runs if "versions" in run}
    amounts = dataclasses.asdict(sizes)
    return {**about, "versions": versions, "sizes": amounts, "medians": medians_of(runs), "runs": list(runs)}


def as_markdown(runs: Sequence[Run], peers: Sequence[str], sizes: Sizes, about: dict[str, Any]) -> str:
    """Draw the table, with what the figures belong to above and what explains a "cannot" below.

    Parameters
    ----------
    runs
        Every run, of all rounds.
    peers
        The columns, in this order.
    sizes
        The amounts of the cases.
    about
        What else the figures belong to: the machine, the number of rounds.
    """
    medians = medians_of(runs)
    heads = [PEERS[peer].title if peer in PEERS else TITLES[peer] for peer in peers]
    lines = [f"* {what}: {value}" for what, value in about["machine"].items()]
    lines += [f"* {what}: {value}" for what, value in about.items() if what != "machine"]
    lines += ["", "| case | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * len(heads)]
    for metric in METRICS:
        if metric.case in medians:
            cells = [_cell(metric, peer, runs, medians) for peer in peers]
            lines.append(f"| {words_of(metric, sizes)} | " + " | ".join(cells) + " |")
    lines += ["", *_explanations(runs, peers), "", *_versions(runs, peers)]
    return "\n".join(lines) + "\n"


def _cell(metric: Metric, peer: str, runs: Sequence[Run], medians: Medians) -> str:
    if not is_installed(peer):
        return "not installed"
    value = medians[metric.case].get(peer, {}).get(metric.name)
    if value is not None:
        return formatted(metric, value)
    mine = [run for run in runs if run["peer"] == peer and run["case"] == metric.case]
    if any(metric.name in run.get("cannot", {}) for run in mine):
        return "cannot"
    return "error" if has_case(peer, metric.case) and any("error" in run for run in mine) else "–"


def _explanations(runs: Sequence[Run], peers: Sequence[str]) -> list[str]:
    """A line for each thing that runs say in words, once."""
    lines: dict[str, None] = {}
    for run in sorted(runs, key=lambda run: peers.index(run["peer"])):
        head = f"* {run['peer']}, {run['case']}"
        for why in dict.fromkeys(run.get("cannot", {}).values()):
            names = ", ".join(name for name, reason in run["cannot"].items() if reason == why)
            lines[f"{head}: cannot {names}: {why}"] = None
        for name, note in run.get("notes", {}).items():
            lines[f"{head}: {name}: {note}"] = None
        if "error" in run:
            lines[f"{head}: error: {run['error']}"] = None
    return [line for line in lines if not line.endswith(": ")]


def _versions(runs: Sequence[Run], peers: Sequence[str]) -> list[str]:
    named = {run["peer"]: run["versions"] for run in runs if "versions" in run}
    return [
        f"* versions of {peer}: " + ", ".join(f"{name} {version}" for name, version in named[peer].items())
        for peer in peers
        if peer in named and peer not in FLOORS
    ]
