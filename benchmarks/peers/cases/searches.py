"""Searches of scikit-learn, whose fits joblib hands to the executor."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from ..outcome import Cannot, Outcome
from ..peer import WORKERS, Peer
from ..sizes import Sizes
from .support import now

FOLDS = 5
COLUMNS = 100  # of the large table: 16 MB with 20,000 rows


def measure_search(peer: Peer, sizes: Sizes) -> Outcome:
    """Measure ``GridSearchCV`` of many quick fits, and of few slow ones.

    In the first one workers start, and import scikit-learn.

    Parameters
    ----------
    peer
        Not started.
    sizes
        How many fits, and of how much.
    """
    peer.start()
    try:
        backend = peer.joblib_backend()
    except Cannot as why:
        return Outcome(cannot=dict.fromkeys(("small_first", "small", "large"), str(why)))
    small = [_seconds_of_small(backend, sizes.small_fits // FOLDS) for _ in range(4)]
    large = _seconds_of_large(backend, sizes.large_fits // FOLDS, sizes.rows)
    return Outcome({"small_first": small[0], "small": statistics.median(small[1:]), "large": large})


def _seconds_of_small(backend: Any, candidates: int) -> float:
    """Return the seconds of a search whose fits take milliseconds.

    Parameters
    ----------
    backend
        Of joblib.
    candidates
        How many parameters are tried, with each fold.
    """
    from sklearn.linear_model import LogisticRegression

    table = np.random.default_rng(0).random((300, 10))
    return _seconds(backend, LogisticRegression(), {"C": np.logspace(-3, 3, candidates)}, table)


def _seconds_of_large(backend: Any, candidates: int, rows: int) -> float:
    """Return the seconds of a search whose fits take about a second.

    Parameters
    ----------
    backend
        Of joblib.
    candidates
        How many parameters are tried, with each fold.
    rows
        Of the table.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    forest = ExtraTreesClassifier(20, random_state=0)
    table = np.random.default_rng(0).random((rows, COLUMNS))
    return _seconds(backend, forest, {"min_samples_leaf": [2 + n for n in range(candidates)]}, table)


def _seconds(backend: Any, model: Any, grid: dict[str, Any], table: Any) -> float:
    """Return the seconds of a search.

    Parameters
    ----------
    backend
        Of joblib.
    model, grid
        What is fitted, with which parameters.
    table
        To which numbers.
    """
    from joblib import parallel_config
    from sklearn.model_selection import GridSearchCV

    classes = table[:, :3].sum(axis=1) > 1.5
    search = GridSearchCV(model, grid, cv=FOLDS, n_jobs=WORKERS, refit=False)
    began = now()
    with parallel_config(backend=backend):
        search.fit(table, classes)
    return now() - began
