"""Trials of Optuna's as tasks: their questions are answered here, and a pruned one is really cancelled."""

from __future__ import annotations

import enum
import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kernel_environments import LIBRARIES, python_of
from waits import SAFETY

from scaler_notebook import CancelReason, NotebookExecutor
from scaler_notebook.interop.optuna import TaskTrial, optimize


class State(enum.Enum):
    COMPLETE = 1
    PRUNED = 2
    FAIL = 3


class Pruned(Exception):
    pass


class Trial:
    """What is used of Optuna's trial; each value above 1 is pruned."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.params: dict[str, float] = {}
        self.reported = 0.0

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        if low > high:
            raise ValueError("low is above high")
        self.params[name] = low + self.number
        return self.params[name]

    def report(self, value: float, step: int) -> None:
        self.reported = value

    def should_prune(self) -> bool:
        return self.reported > 1


class Study:
    """What is used of Optuna's study."""

    study_name = "mine"

    def __init__(self) -> None:
        self.asked = 0
        self.told: dict[int, Any] = {}

    def ask(self) -> Trial:
        self.asked += 1
        return Trial(self.asked - 1)

    def tell(self, trial: Trial, value: Any = None, state: State | None = None, skip_if_finished: bool = False) -> int:
        self.told[trial.number] = value if state is None else state
        return trial.number


@pytest.fixture(autouse=True)
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the modules that are imported of Optuna, which the tests' own environment lacks."""
    for module, name, value in (("trial", "TrialState", State), ("exceptions", "TrialPruned", Pruned)):
        made = types.ModuleType(f"optuna.{module}")
        setattr(made, name, value)
        monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.setitem(sys.modules, "optuna", types.ModuleType("optuna"))


@pytest.fixture
def futures(executor: NotebookExecutor, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The tasks of the trials, in their order."""
    submitted: list[Any] = []
    submit = executor.submit_verbose

    def noted(*args: Any, **options: Any) -> Any:
        submitted.append(submit(*args, **options))
        return submitted[-1]

    monkeypatch.setattr(executor, "submit_verbose", noted)
    return submitted


def test_what_a_trial_is_asked_is_answered_here(executor: NotebookExecutor, futures: list[Any]) -> None:
    def objective(trial: Any) -> Any:
        x = trial.suggest_float("x", 10, 20, log=True)
        with pytest.raises(ValueError, match="low is above high"):
            trial.suggest_float("y", 2, 1)
        with pytest.raises(AttributeError, match=r"has suggest_float, .*, and no study"):
            trial.study  # noqa: B018
        trial.report(0.5, 1)
        return x, trial.number, trial.params, trial.should_prune(), os.getpid()

    study, ended = Study(), []
    optimize(study, objective, 5, executor, callbacks=[lambda study, trial: ended.append(trial)], run_timeout=SAFETY)
    assert {number: told[:4] for number, told in study.told.items()} == {
        number: (10 + number, number, {"x": 10 + number}, False) for number in range(5)
    }
    assert os.getpid() not in {told[4] for told in study.told.values()}
    assert sorted(ended) == [0, 1, 2, 3, 4]
    assert [future.call for future in futures] == [f"trial {number}" for number in range(5)]


def test_a_pruned_trial_is_cancelled_for_real(executor: NotebookExecutor, futures: list[Any], tmp_path: Path) -> None:
    def objective(trial: Any) -> float:
        try:
            trial.report(float(trial.number), 1)
            if trial.number > 1:
                time.sleep(1000)
        except KeyboardInterrupt:
            (tmp_path / str(trial.number)).touch()
            raise
        return 7.0

    study = Study()
    optimize(study, objective, 4, executor)
    assert study.told == {0: 7.0, 1: 7.0, 2: State.PRUNED, 3: State.PRUNED}
    assert [future.cancel_reason for future in futures] == [None, None, CancelReason.STOPPED, CancelReason.STOPPED]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]


def fails(trial: Any) -> float:
    if trial.number == 1:
        raise KeyError("mine")
    if trial.number > 1:
        time.sleep(1000)
    return 1.0


def test_one_that_raises_has_failed_and_ends_the_others(executor: NotebookExecutor) -> None:
    study = Study()
    with pytest.raises(KeyError, match="mine"):
        optimize(study, fails, 4, executor)
    assert study.told.pop(0) in (1.0, State.FAIL), "the two are side by side"
    assert study.told == dict.fromkeys(range(1, study.asked), State.FAIL)
    assert executor.unfinished() == []


def test_one_that_raises_what_is_caught_does_not(executor: NotebookExecutor) -> None:
    study = Study()
    ended: list[Any] = []
    callbacks = (each for each in [lambda study, trial: ended.append(trial)])  # read once
    optimize(study, fails, 2, executor, n_jobs=1, catch=[KeyError], callbacks=callbacks)
    assert ended == [0, 1]
    assert study.told == {0: 1.0, 1: State.FAIL}


def test_the_stop_button_cancels_what_runs_which_has_failed(executor: NotebookExecutor, tmp_path: Path) -> None:
    pipe = tmp_path / "begun"
    os.mkfifo(pipe)

    def objective(trial: Any) -> None:
        with open(pipe, "w") as begun:
            begun.write("x")
        time.sleep(1000)

    def interrupt() -> None:
        count = 0
        while count < 2:
            with open(pipe) as begun:
                count += len(begun.read())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    study = Study()
    with pytest.raises(KeyboardInterrupt):
        optimize(study, objective, 9, executor, n_jobs=2)
    thread.join(SAFETY)
    assert study.told == {0: State.FAIL, 1: State.FAIL}
    assert executor.unfinished() == []


def test_one_that_is_cancelled_by_hand_has_failed_and_the_others_go_on(
    executor: NotebookExecutor, futures: list[Any]
) -> None:
    def objective(trial: Any) -> float:
        if trial.number == 0:
            time.sleep(1000)
        return 1.0

    study = Study()
    cancel: Callable[[Any, Any], object] = lambda study, trial: futures[0].request_cancel()  # noqa: E731
    optimize(study, objective, 3, executor, n_jobs=2, callbacks=[cancel])
    assert study.told == {0: State.FAIL, 1: 1.0, 2: 1.0}


def test_a_trial_that_is_over_says_so() -> None:
    with pytest.raises(RuntimeError, match="trial 3 is over"):
        TaskTrial("/nowhere", 3).report(1.0, 1)


REAL = """
import os, sys, time
import optuna
from optuna.trial import TrialState
from scaler_notebook import NotebookExecutor
from scaler_notebook.interop.optuna import optimize

optuna.logging.set_verbosity(optuna.logging.ERROR)
ex = NotebookExecutor(n_workers=2)

def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    if trial.suggest_categorical("kind", ["plain", "shifted"]) == "shifted":
        x += trial.suggest_int("shift", 1, 3)
    trial.set_user_attr("pid", os.getpid())
    return x * x

def pruned(trial):
    trial.report(2.0 if trial.number % 2 else 0.5, 0)
    if trial.number % 4 == 1:
        raise optuna.TrialPruned
    if trial.number % 2:
        time.sleep(1000)
    return 1.0

def nothing(trial):
    return None

study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1))
optimize(study, objective, 20)
pids = {trial.user_attrs["pid"] for trial in study.trials}
print(len(study.trials), {trial.state.name for trial in study.trials}, os.getpid() in pids)
study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=1.0))
optimize(study, pruned, 8)
print([trial.state.name[0] for trial in study.trials], study.trials[3].value, study.best_value)
study = optuna.create_study()
optimize(study, nothing, 1)
print(study.trials[0].state.name, ex.unfinished())
"""


@pytest.mark.matrix
@pytest.mark.timeout(900)
def test_real_studies() -> None:
    python = python_of(LIBRARIES)
    done = subprocess.run([python, "-c", REAL], capture_output=True, text=True, timeout=600, env=dict(os.environ))
    assert done.stdout.splitlines() == [
        "20 {'COMPLETE'} False",
        "['C', 'P', 'C', 'P', 'C', 'P', 'C', 'P'] 2.0 1.0",
        "FAIL []",
    ], done.stderr
