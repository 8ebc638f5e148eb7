"""Values that the notebook has changed in its modules: a task has them as they are at the submit."""

from __future__ import annotations

import importlib
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from waits import SAFETY

from scaler_notebook import NotebookExecutor

TEXT = """
RATE = 0.1
NAMES = ["a"]
OPTIONS = {"deep": 1}
_calls = 0
def read():
    return RATE, NAMES, OPTIONS, globals().get("ADDED")
def calls():
    return _calls
def set_rate(rate):
    global RATE
    RATE = rate
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module of the user's, just imported."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_values.py").write_text(TEXT)
    (tmp_path / "own_user.py").write_text("import own_values\nTWICE = 2 * own_values.RATE\n")
    importlib.invalidate_caches()
    yield importlib.import_module("own_values")
    for name in ("own_values", "own_user"):
        sys.modules.pop(name, None)


@pytest.fixture
def alone() -> Iterator[NotebookExecutor]:
    with NotebookExecutor(n_workers=1) as executor:
        yield executor


def in_a_task(executor: NotebookExecutor, config: ModuleType) -> Callable[[], Any]:
    """Return a function that has a task read the module."""
    return lambda: executor.submit(lambda: config.read()).result(SAFETY)


def test_a_task_has_the_values_of_the_submit(alone: NotebookExecutor, config: Any) -> None:
    read = in_a_task(alone, config)
    assert read() == config.read() == (0.1, ["a"], {"deep": 1}, None)
    for rate in (1, 2.5, None, "text", 0.1, (1, 2)):
        config.RATE = rate
        assert read() == config.read()
    config.NAMES.append("b")
    config.OPTIONS["deep"], config.OPTIONS["new"] = 2, 3
    config.ADDED = 7
    assert read() == config.read() == ((1, 2), ["a", "b"], {"deep": 2, "new": 3}, 7)
    config.RATE, config.NAMES[:] = 0.1, ["a"]
    del config.ADDED
    assert read() == config.read()


def test_a_value_that_cannot_be_compared_is_nobodys_error(alone: NotebookExecutor, config: Any) -> None:
    config.RATE, config.ADDED = 2, 3
    assert in_a_task(alone, config)() == config.read()
    config.RATE = np.ones(3)
    assert in_a_task(alone, config)()[::3] == (0.1, 3), "an array is not carried"
    config.RATE = 4
    assert in_a_task(alone, config)() == config.read()


def test_an_initializer_may_set_what_cannot_be_compared(config: Any) -> None:
    def prepare() -> None:
        config.RATE = np.ones(3)

    config.RATE = 2
    with NotebookExecutor(n_workers=1, initializer=prepare) as executor:
        assert executor.submit(lambda: config.RATE.sum()).result(SAFETY) == 3


def test_a_loop_that_changes_a_value_has_each(alone: NotebookExecutor, config: Any) -> None:
    futures = []
    for number in range(50):
        config.RATE = number
        futures.append(alone.submit(config.read))
    assert [future.result(SAFETY)[0] for future in futures] == list(range(50))


def test_what_the_modules_own_code_has_changed_counts_too(alone: NotebookExecutor, config: Any) -> None:
    config.set_rate(5)
    assert in_a_task(alone, config)()[0] == 5


def test_a_task_changes_nothing_for_the_next(alone: NotebookExecutor, config: Any) -> None:
    config.RATE = 2
    for _ in range(2):
        alone.submit(config.set_rate, 9).result(SAFETY)
        assert in_a_task(alone, config)() == config.read()


def test_a_module_that_only_another_imports(alone: NotebookExecutor, config: Any) -> None:
    config.RATE = 3

    def use() -> Any:
        own_user = importlib.import_module("own_user")
        return own_user.own_values.RATE, own_user.TWICE

    assert alone.submit(use).result(SAFETY) == (3, 0.2), "the other module was made when this had its first value"


def test_another_clients_notebook_has_its_own(alone: NotebookExecutor, config: Any) -> None:
    config.RATE = 4
    assert in_a_task(alone, config)()[0] == 4
    script = f"import sys; sys.path.insert(0, {str(Path(config.__file__).parent)!r})\n" + (
        "import own_values\nfrom scaler_notebook import NotebookExecutor\n"
        "print(NotebookExecutor(sys.argv[1]).submit(own_values.read).result())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, alone.address], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout == "(0.1, ['a'], {'deep': 1}, None)\n"
    assert in_a_task(alone, config)()[0] == 4


def test_what_an_initializer_sets_wins(config: Any) -> None:
    def prepare() -> None:
        config.RATE = "prepared"

    config.RATE, config.ADDED = 2, 3
    with NotebookExecutor(n_workers=1, initializer=prepare) as executor:
        for _ in range(2):
            assert in_a_task(executor, config)() == ("prepared", ["a"], {"deep": 1}, 3)


def test_a_reload_begins_anew(alone: NotebookExecutor, config: Any) -> None:
    config.RATE = 8
    importlib.reload(config)
    assert in_a_task(alone, config)() == config.read() == (0.1, ["a"], {"deep": 1}, None)


def test_an_import_that_fails_shows_no_frame_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_fails.py").write_text("import own_missing\n")
    importlib.invalidate_caches()
    with pytest.raises(ImportError) as caught:
        __import__("own_fails")
    files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert files == [__file__, str(tmp_path / "own_fails.py")]
