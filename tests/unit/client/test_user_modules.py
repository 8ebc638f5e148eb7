"""What a submit notices of the user's modules, and when: edits within 5 ms, everything else at once."""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler_notebook.client.context import user_modules
from scaler_notebook.client.context.user_modules import FRESH, USER_MODULES

NAME = "module_that_is_edited"


class Clock:
    """The time as a test has it, in place of :mod:`time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(user_modules, "time", clock)
    USER_MODULES.start_over()
    yield clock
    USER_MODULES.start_over()


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The file of a module that is imported, and that a submit has looked at."""
    file = tmp_path / f"{NAME}.py"
    file.write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(NAME)
    yield file
    del sys.modules[NAME]


def why_by_value() -> str | None:
    """Why the module travels by value, as tasks are told; empty if it does not, None if it is not known."""
    USER_MODULES.refresh()
    found = json.loads(USER_MODULES.text or "{}").get(NAME)
    return found[0] if found else None


def test_an_edit_is_noticed_when_a_look_is_5_ms_old_and_not_later(clock: Clock, file: Path) -> None:
    assert FRESH <= 0.005
    assert why_by_value() == ""
    file.write_text("value = 'another'\n")
    clock.now += FRESH / 2
    assert why_by_value() == "", "a look of the same moment is not repeated"
    clock.now += FRESH
    assert why_by_value() == user_modules.EDITED


def test_looks_that_serve_others_do_not_make_one_last_longer(clock: Clock, file: Path) -> None:
    assert why_by_value() == ""
    file.unlink()
    found = []
    for _ in range(4):
        clock.now += FRESH / 3
        found.append(why_by_value())
    assert found[0] == found[1] == ""
    assert found[3] == user_modules.EDITED


def test_a_reload_is_noticed_at_once(clock: Clock, file: Path) -> None:
    before = why_by_value()
    file.write_text("value = 'another'\n")
    importlib.reload(sys.modules[NAME])
    assert why_by_value() == before == ""
    stamp = os.stat(file)
    assert f"{stamp.st_mtime_ns}-{stamp.st_size}" in USER_MODULES.text


def test_an_import_is_noticed_at_once(clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert why_by_value() is None
    (tmp_path / f"{NAME}.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(NAME)
    try:
        assert why_by_value() == ""
    finally:
        del sys.modules[NAME]


def test_a_look_that_is_interrupted_is_repeated_at_the_next_submit(
    clock: Clock, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert why_by_value() == ""
    file.write_text("value = 'another'\n")
    clock.now += 2 * FRESH

    def interrupt(_: str) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(user_modules, "file_stamp", interrupt)
        with pytest.raises(KeyboardInterrupt):
            USER_MODULES.refresh()
    assert why_by_value() == user_modules.EDITED
