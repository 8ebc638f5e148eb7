"""Draw a comparison: ``python -m benchmarks.peers.plot [FILE.json [PICTURE]]``, in the project's environment."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from ..machine import ROOT
from .adapters import PEERS
from .metrics import METRICS, Metric, words_of
from .report import Medians
from .sizes import Sizes

OURS = "scaler_notebook"
FIGURES = ROOT / "output" / "peers.json"
PICTURE = ROOT / "output" / "peers.svg"
ROW = 0.3  # inches


def ratios(metric: Metric, medians: Medians) -> dict[str, float]:
    """Give how often each peer takes what scaler_notebook takes, of seconds or memory; above 1 it takes more.

    Parameters
    ----------
    metric
        The row.
    medians
        The medians, by case, peer and figure.
    """
    values = {peer: named[metric.name] for peer, named in medians[metric.case].items() if metric.name in named}
    ours = values.get(OURS, 0.0)
    return {
        peer: ours / value if metric.unit == "per second" else value / ours
        for peer, value in values.items()
        if peer in PEERS and value > 0 < ours
    }


def draw(found: dict[str, Any], picture: Path) -> None:
    """Write a picture with a line for each row, and a mark on the line for each peer.

    Parameters
    ----------
    found
        What the comparison has written as JSON.
    picture
        The path of the picture, whose ending says the format.
    """
    sizes = Sizes(**found["sizes"])
    rows = [metric for metric in METRICS if metric.case in found["medians"] and metric.unit != "count"]
    rows = [metric for metric in rows if len(ratios(metric, found["medians"])) > 1]
    figure, axes = pyplot.subplots(figsize=(10, ROW * len(rows) + 1.2), layout="constrained")
    for peer, adapter in PEERS.items():
        marks = {number: ratios(metric, found["medians"]).get(peer) for number, metric in enumerate(rows)}
        known = {number: ratio for number, ratio in marks.items() if ratio is not None}
        is_ours = peer == OURS
        axes.plot(
            list(known.values()),
            list(known),
            "k|" if is_ours else "o",
            markersize=14 if is_ours else 6,
            label=adapter.title,
        )
    axes.set_yticks(range(len(rows)), [words_of(metric, sizes) for metric in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    figure.supxlabel("time or memory, as a multiple of scaler_notebook's: to the right the peer takes more", fontsize=9)
    axes.grid(axis="x", alpha=0.3)
    axes.margins(y=0.02)
    figure.legend(loc="outside upper center", ncols=len(PEERS), fontsize=8, frameon=False)
    figure.savefig(picture)


def main() -> None:
    """Draw what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.plot")
    parser.add_argument("figures", nargs="?", type=Path, default=FIGURES, help="what was measured (%(default)s)")
    parser.add_argument("picture", nargs="?", type=Path, default=PICTURE, help="the picture (%(default)s)")
    options = parser.parse_args()
    draw(json.loads(options.figures.read_text()), options.picture)
    print(options.picture)


if __name__ == "__main__":
    main()
