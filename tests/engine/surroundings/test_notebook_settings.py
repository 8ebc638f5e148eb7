"""A task has the settings that the notebook had when it was submitted."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from waits import SAFETY

from scaler_notebook import NotebookExecutor

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")
matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    """What a test changes of this process is put back."""
    limit, level = sys.getrecursionlimit(), logging.root.level
    with warnings.catch_warnings(), np.errstate(), pd.option_context("display.max_rows", 60), matplotlib.rc_context():
        yield
    pd.reset_option("display.float_format")
    sys.setrecursionlimit(limit)
    logging.root.setLevel(level)


class OwnWarning(UserWarning):
    """Of this module, which a task has not imported."""


def warned(category: type[Warning]) -> str:
    with warnings.catch_warnings(record=True) as caught:
        try:
            warnings.warn("here", category, stacklevel=1)
        except Warning:
            return "raised"
    return f"{len(caught)} shown"


def warns(category: type[Warning]) -> Callable[[], str]:
    return lambda: warned(category)


def pandas_option(name: str) -> Callable[[], Any]:
    return lambda: pd.get_option(name)


def parameter(name: str) -> Callable[[], Any]:
    return lambda: matplotlib.rcParams[name]


SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "all warnings are errors": (lambda: warnings.simplefilter("error"), warns(UserWarning)),
    "none is shown": (lambda: warnings.simplefilter("ignore"), warns(UserWarning)),
    "by message": (lambda: warnings.filterwarnings("error", message="he.e"), warns(UserWarning)),
    "of one kind": (lambda: warnings.simplefilter("error", FutureWarning), warns(FutureWarning)),
    "of a library": (
        lambda: warnings.simplefilter("error", pd.errors.PerformanceWarning),
        warns(pd.errors.PerformanceWarning),
    ),
    "recursion limit": (lambda: sys.setrecursionlimit(2345), sys.getrecursionlimit),
    "log level": (lambda: logging.root.setLevel(logging.DEBUG), lambda: logging.root.level),
    "numpy": (lambda: np.seterr(divide="raise", over="ignore"), lambda: np.geterr()),
    "pandas": (lambda: pd.set_option("display.max_rows", 7), pandas_option("display.max_rows")),
    "pandas by attribute": (lambda: setattr(pd.options.display, "width", 33), pandas_option("display.width")),
    "pandas with a lambda": (
        lambda: pd.set_option("display.float_format", lambda x: f"<{x:.1f}>"),
        lambda: repr(pd.Series([1.25])),
    ),
    "matplotlib": (lambda: matplotlib.rcParams.update({"lines.linewidth": 5.5}), parameter("lines.linewidth")),
    "matplotlib's style": (
        lambda: pytest.importorskip("matplotlib.style").use("ggplot"),
        lambda: matplotlib.rcParams["axes.prop_cycle"].by_key(),
    ),
}


@pytest.fixture(scope="module")
def importing() -> Iterator[NotebookExecutor]:
    """An executor whose process has imported these libraries; in a shared one each test would import them again."""

    def imports() -> None:
        import matplotlib.style  # noqa: F401
        import pandas  # noqa: F401

    with NotebookExecutor(n_workers=1) as executor:
        executor.submit(imports).result(30)
        yield executor


OFTEN = ("all warnings are errors", "log level", "pandas", "matplotlib")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in OFTEN else pytest.mark.matrix) for name in SETTINGS]
)
def test_a_task_has_the_settings_of_the_submit(importing: NotebookExecutor, name: str) -> None:
    change, read = SETTINGS[name]
    before = read()
    unchanged = importing.submit(read)
    change()
    here = read()
    assert here != before
    changed = importing.submit(read)
    assert (unchanged.result(SAFETY), changed.result(SAFETY)) == (before, here)


def test_what_a_task_changes_goes_back_to_the_notebooks(importing: NotebookExecutor) -> None:
    def change() -> None:
        warnings.resetwarnings()
        sys.setrecursionlimit(999)
        np.seterr(all="ignore")
        pd.reset_option("display.max_rows")
        matplotlib.rcdefaults()

    def look() -> Any:
        shown = pd.get_option("display.max_rows"), matplotlib.rcParams["lines.linewidth"]
        return os.getpid(), warned(UserWarning), sys.getrecursionlimit(), np.geterr()["divide"], *shown

    warnings.simplefilter("error")
    sys.setrecursionlimit(2222)
    np.seterr(divide="raise")
    pd.set_option("display.max_rows", 5)
    matplotlib.rcParams["lines.linewidth"] = 3.5
    expected = ("raised", 2222, "raise", 5, 3.5)
    first = importing.submit(look).result(SAFETY)
    assert first[1:] == expected
    importing.submit(change).result(SAFETY)
    assert importing.submit(look).result(SAFETY) == first


def test_a_library_that_the_process_imports_later_has_them_then() -> None:
    def look() -> Any:
        loaded = {"numpy", "pandas", "matplotlib"} & sys.modules.keys()
        import matplotlib
        import numpy
        import pandas

        shown = pandas.get_option("display.max_rows"), matplotlib.rcParams["lines.linewidth"]
        kinds = {str(getattr(each[2], "__name__", "")) for each in warnings.filters}
        return loaded, numpy.geterr()["divide"], *shown, "PerformanceWarning" in kinds

    np.seterr(divide="raise")
    pd.set_option("display.max_rows", 5)
    matplotlib.rcParams["lines.linewidth"] = 3.5
    warnings.simplefilter("ignore", pd.errors.PerformanceWarning)
    with NotebookExecutor(n_workers=1) as ex:
        assert ex.submit(look).result(30) == (set(), "raise", 5, 3.5, True)


def test_what_cannot_be_pickled_is_left_out_and_nothing_else(importing: NotebookExecutor) -> None:
    lock = __import__("threading").Lock()
    pd.set_option("display.float_format", lambda x: str((x, lock)))
    pd.set_option("display.max_rows", 5)
    warnings.simplefilter("error", OwnWarning)
    assert importing.submit(lambda: pd.get_option("display.max_rows")).result(SAFETY) == 5
    assert importing.submit(lambda: pd.get_option("display.float_format")).result(SAFETY) is None
