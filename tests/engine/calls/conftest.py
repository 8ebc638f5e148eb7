"""Fixtures of the tests of calls: an executor of each kind that runs tasks, and one that waits for what tasks do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest
from waits import SAFETY

from scaler_notebook.testing import memory_executor

Executor: TypeAlias = Any  # in the type of NotebookExecutor.submit, what a coroutine function gives is a coroutine


@pytest.fixture(params=["processes", "threads"])
def any_executor(request: pytest.FixtureRequest, executor: Executor) -> Iterator[Executor]:
    """An executor of each kind that runs tasks here; ``clusters/test_scaler`` has the other one."""
    if request.param == "processes":
        yield executor
        return
    with memory_executor(auto=True) as on_threads:
        yield on_threads


@pytest.fixture
def patient(executor_of_one: Executor) -> Executor:
    """One worker, and a grace period that nothing here outlasts: what is to stop must stop by itself."""
    executor_of_one.grace = SAFETY * 3
    return executor_of_one
