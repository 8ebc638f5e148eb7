"""What a notebook shows of an error: the user's lines, and those of this package only where the fault is its own."""

from __future__ import annotations

import json
import signal
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from scaler_notebook import NotebookExecutor, wait
from scaler_notebook.notebook import tracebacks
from scaler_notebook.testing import memory_executor

HERE, LOCK = __file__, threading.Lock()


def ours(source: str, **names: Any) -> Callable[[], Any]:
    """A function of this package, for all that a traceback knows."""
    exec(compile(f"def act():\n    {source}\n", f"{tracebacks.OURS}made_up.py", "exec"), names)
    act: Callable[[], Any] = names["act"]
    return act


def caught(call: Callable[[], Any]) -> BaseException:
    try:
        call()
    except BaseException as error:
        return error
    raise AssertionError("it raises")


def files(error: BaseException) -> list[str]:
    shown = tracebacks.without_ours(error, error.__traceback__)
    return [frame.f_code.co_filename for frame, _ in traceback.walk_tb(shown)]


def submits_a_lock() -> None:
    with memory_executor() as executor:
        executor.submit(print, LOCK)


def fails() -> None:
    raise ValueError("mine")


class Shell:
    """Shows as IPython's does, by Python's own means."""

    def showtraceback(self, exc_tuple: Any = None) -> None:
        print("".join(traceback.format_exception(*exc_tuple)))


MISTAKES: dict[str, Callable[[], Any]] = {
    "an argument that cannot be pickled": submits_a_lock,
    "a wrong value": lambda: NotebookExecutor(n_workers=-1),
    "an option that there is not": lambda: NotebookExecutor(colour=1),  # type: ignore[call-arg, call-overload, unused-ignore]
    "what is no future": lambda: wait([3]),  # type: ignore[list-item]
    "an error in words": ours("raise RuntimeError('give it a name')"),
    "the stop button": ours("raise_signal(2)", raise_signal=signal.raise_signal),
    "a line that cannot be read": ours("compile('f(', '', 'eval')"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_shown_at_the_users_own_line(mistake: str) -> None:
    found = files(caught(MISTAKES[mistake]))
    assert found
    assert set(found) == {HERE}


def test_a_callback_of_the_users_is_shown_without_what_called_it() -> None:
    assert files(caught(ours("call()", call=fails))) == [HERE, HERE]


@pytest.mark.parametrize(
    "source",
    ["return {}['a key that we forgot']", "assert False", "return loads('{')"],
    ids=["lookup", "assert", "library"],
)
def test_a_fault_of_this_package_is_shown_whole(source: str) -> None:
    error = caught(ours(source, loads=json.loads))
    assert files(error)[:2] == [HERE, f"{tracebacks.OURS}made_up.py"]


def test_a_shell_shows_the_chain_without_what_only_we_have_seen(capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell()
    tracebacks.install(shell)
    tracebacks.install(shell)
    error = caught(submits_a_lock)
    before = error.__cause__, error.__traceback__
    shell.showtraceback((type(error), error, error.__traceback__))
    said = capsys.readouterr().out
    assert "TaskSerializationError" in said
    assert "submits_a_lock" in said
    assert "direct cause" not in said
    assert tracebacks.OURS not in said
    assert (error.__cause__, error.__traceback__) == before, "what programs see is as it was"
    Shell().showtraceback((type(error), error, error.__traceback__))
    assert tracebacks.OURS in capsys.readouterr().out
