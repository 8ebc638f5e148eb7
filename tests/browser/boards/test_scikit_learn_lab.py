"""A search of scikit-learn in JupyterLab: its folds are one board, which ends it. In an environment that has it."""

from __future__ import annotations

import pytest
from kernel_environments import LIBRARIES, kernel_name, kernel_specs
from lab import LabNotebook
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.matrix, pytest.mark.timeout(900)]

SETUP = """
from joblib import parallel_config
from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.model_selection import GridSearchCV
from scaler_notebook import NotebookExecutor
ex = NotebookExecutor(n_workers=2, grace=0.3)
X, y = make_classification(2000, random_state=0)
"""
SEARCH = """
with parallel_config(backend=ex.joblib_backend()):
    GridSearchCV(GradientBoostingClassifier(n_estimators=100_000), {"max_depth": [2, 3]}, n_jobs=-1).fit(X, y)
"""
CELLS = [SETUP, SEARCH, "print(ex.unfinished())"]


@pytest.fixture
def kernel() -> str:
    kernel_specs(LIBRARIES)  # makes the environment
    return kernel_name(LIBRARIES)


def test_a_search_is_cancelled_from_its_board(notebook: LabNotebook) -> None:
    notebook.run(1)
    board = notebook.output(1).locator(".scaler-board")
    expect(board.locator(".scaler-chip[data-kind=running]")).to_have_text("2 running", timeout=60_000)
    board.get_by_role("button", name="Cancel all").click()
    expect(board.locator(".scaler-chip[data-kind=cancelled]")).to_have_text("4 cancelled")
    notebook.wait_until_run(1)
    expect(notebook.output(1)).to_contain_text("TaskCancelledError")
    notebook.run(2)
    notebook.wait_until_run(2)
    assert notebook.text(2) == "[]\n"
