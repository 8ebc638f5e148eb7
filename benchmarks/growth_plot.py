"""The picture of what a task costs among few and among many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

OF_ONE = "cancel of one"  # is not divided by the tasks: a cost for each look at every one of them would show here


def draw_growth(sizes: Sequence[int], columns: Sequence[Mapping[str, float]], picture: Path) -> None:
    """Write a picture with a line for each step; a level line costs the same among few and among many.

    Parameters
    ----------
    sizes
        Numbers of tasks.
    columns
        For each number the costs, in seconds per task, by what was done.
    picture
        The path of the picture, whose ending says the format.
    """
    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    for what in columns[0]:
        costs = [1e6 * column[what] for column in columns]
        axes.plot(sizes, costs, "o--" if what.startswith(OF_ONE) else "o-", label=what)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("tasks that are there at the same time")
    axes.set_ylabel("µs per task")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)
    pyplot.close(figure)
