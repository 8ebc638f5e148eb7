"""scikit-learn's callbacks: the bar of a task that fits, and its cancel."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from kernel_environments import LIBRARIES, python_of

from scaler_notebook.interop.scikit_learn import FitProgress
from scaler_notebook.task import current_task


@dataclass
class Context:
    """What the callback reads of scikit-learn's context of a fit task."""

    parent: Context | None
    task_id: int
    max_subtasks: int | None
    source_estimator_name: str | None = None
    estimator_name: str = "Search"
    task_name: str = "fit"


Seen = list[tuple[float, float]]


class AskedTask:
    """The task of the test's own thread: what it reports, and whether it is asked to stop."""

    def __init__(self) -> None:
        self.seen: Seen = []
        self.is_asked = False
        self.task = current_task.CurrentTask("1", "fit", lambda: self.is_asked, reporter=self._take)

    def _take(self, done: float, total: float, *_: object) -> None:
        if self.seen[-1:] != [(done, total)]:
            self.seen.append((done, total))


@pytest.fixture
def asked() -> Iterator[AskedTask]:
    found = AskedTask()
    current_task.begin_on_thread(found.task)
    yield found
    current_task.end_on_thread()


def fit_fold(callback: Any, search: Context | None, number: int, iterations: int) -> None:
    """Call the hooks of a fold of a search, whose model has four iterations at most."""
    fold, model = Context(search, number, 0), Context(search, number, 4, source_estimator_name="Search")
    callback.on_fit_task_begin(None, fold)
    callback.on_fit_task_begin(None, model)
    for step in range(iterations):
        callback.on_fit_task_begin(None, Context(model, step, 0))
        callback.on_fit_task_end(None, Context(model, step, 0))
    callback.on_fit_task_end(None, model)
    callback.on_fit_task_end(None, fold)


def test_the_bar_counts_folds_and_moves_within_them(asked: AskedTask) -> None:
    callback, root = FitProgress(), Context(None, 0, 2)
    search = Context(root, 0, 2)
    callback.on_fit_task_begin(None, root)
    callback.on_fit_task_begin(None, search)
    fit_fold(callback, search, 0, 4)
    fit_fold(callback, search, 1, 2)
    callback.on_fit_task_end(None, search)
    fit_fold(callback, root, 1, 0)
    callback.on_fit_task_end(None, root)
    within = [(0.25, 3), (0.5, 3), (0.75, 3), (1, 3), (1.25, 3), (1.5, 3), (2, 3), (3, 3)]
    assert asked.seen == [(0, 2), (0, 3), *within]


def test_a_fold_that_is_a_task_counts_iterations(asked: AskedTask) -> None:
    search = Context(Context(None, 0, 2), 0, 40)
    for number in (7, 8):  # one after the other, in a batch
        asked.seen.clear()
        fit_fold(callback := FitProgress(), search, number, 2)
        assert asked.seen == [(0, 0), (0, 4), (1, 4), (2, 4), (4, 4)]
    fit_fold(callback, search, 9, 2)
    assert asked.seen[-1] == (4, 4)


def test_where_the_number_is_unknown_the_bar_counts(asked: AskedTask) -> None:
    callback, fit = FitProgress(), Context(None, 0, None)
    callback.on_fit_task_begin(None, fit)
    for step in range(3):
        callback.on_fit_task_begin(None, Context(fit, step, 0))
        callback.on_fit_task_end(None, Context(fit, step, 0))
    assert asked.seen == [(0, -1), (1, -1), (2, -1), (3, -1)]
    callback.on_fit_task_end(None, fit)
    assert asked.seen[-1] == (3, 3)


def test_a_task_that_is_asked_to_stop_ends_the_iterations(asked: AskedTask) -> None:
    callback, fit = FitProgress(), Context(None, 0, 9)
    callback.on_fit_task_begin(None, fit)
    assert callback.on_fit_task_end(None, Context(fit, 0, 0)) is False
    asked.is_asked = True
    assert callback.on_fit_task_end(None, Context(fit, 1, 0)) is True
    raised = []

    def on_a_thread() -> None:
        current_task.begin_on_thread(asked.task)
        try:
            callback.on_fit_task_end(None, Context(fit, 2, 0))
        except KeyboardInterrupt as error:
            raised.append(error)

    thread = threading.Thread(target=on_a_thread)
    thread.start()
    thread.join()
    assert raised


REAL = """
import time
from concurrent.futures import ThreadPoolExecutor
from joblib import parallel_config
from scaler_notebook import NotebookExecutor
from scaler_notebook.interop.scikit_learn import FitProgress
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

class SlowProgress(FitProgress):
    def on_fit_task_begin(self, estimator, context):
        super().on_fit_task_begin(estimator, context)
        time.sleep(0.1)

    def __reduce__(self):
        return SlowProgress, ()

def fit_on_a_thread():
    model = LogisticRegression(tol=1e-15, max_iter=100_000).set_callbacks(SlowProgress())
    with ThreadPoolExecutor(1) as pool:  # waits at its end until the fit ends
        pool.submit(model.fit, X, y).result()

X, y = make_classification(200, random_state=0)
ex = NotebookExecutor(n_workers=2)
pipeline = make_pipeline(StandardScaler(), LogisticRegression())
for model, grid in (pipeline, {"logisticregression__C": [1, 2]}), (RandomForestClassifier(3), {"max_depth": [1, 2]}):
    fit = ex.submit(GridSearchCV(model, grid).set_callbacks(FitProgress()).fit, X, y)
    fit.result()
    print(fit.progress.done, fit.progress.total, str(fit.logs))
with parallel_config(backend=ex.joblib_backend()):
    ours = GridSearchCV(LogisticRegression(), {"C": [1, 2]}, n_jobs=2).set_callbacks(FitProgress()).fit(X, y)
with parallel_config("loky"):
    lokys = GridSearchCV(LogisticRegression(), {"C": [1, 2]}, n_jobs=2).fit(X, y)
scores = [name for name in lokys.cv_results_ if "time" not in name and "param" not in name]
print(len(scores), all((ours.cv_results_[name] == lokys.cv_results_[name]).all() for name in scores))
print((ours.best_estimator_.coef_ == lokys.best_estimator_.coef_).all())
fit = ex.submit(fit_on_a_thread)
while fit.progress is None or fit.progress.done == 0:
    time.sleep(0.01)
print(fit.cancel(force=False))
"""


@pytest.mark.matrix
@pytest.mark.timeout(900)
def test_real_fits() -> None:
    python = python_of(LIBRARIES)
    done = subprocess.run([python, "-c", REAL], capture_output=True, text=True, timeout=600, env=dict(os.environ))
    assert done.stdout.splitlines() == ["11.0 11.0 ", "11.0 11.0 ", "8 True", "True", "True"], done.stderr
