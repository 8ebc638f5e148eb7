"""CPython's own tests of ``concurrent.futures``, against ``NotebookExecutor`` (``cpython_adapter.py``).

Everything passes but :data:`DIFFERENCES`, which are deliberate; a test that is listed there and passes is an error.
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

TOP = Path(__file__).parents[4]
ADAPTER = TOP / "tests" / "support" / "tasks" / "cpython_adapter.py"
TIMEOUT = 240  # seconds for one group; they take up to 25 on an idle machine

ONE_TASK_FAILS = "what goes wrong in a task, or with its process, fails that task alone; the executor goes on"
AT_THE_CALL = "what cannot be pickled is refused by submit(), where the mistake is, not later by the future"
SETTLED_BY_ITS_ENGINE = "nobody else settles a future: set_result and set_exception are refused, with words of ours"
ALL_AT_ONCE = "task processes are started together with the engine, not one by one with the tasks"
NO_CONTEXT = "there is no start method to choose, and no mp_context"

DIFFERENCES = {
    "FutureTests.test_cancel": "cancel() stops what runs and discards what has finished, and returns True",
    "FutureTests.test_exception_with_success": "it pokes a result into a future's private attributes",
    "FutureTests.test_multiple_set_exception": SETTLED_BY_ITS_ENGINE,
    "FutureTests.test_multiple_set_result": SETTLED_BY_ITS_ENGINE,
    "FutureTests.test_repr": "repr() shows the task's id, its call, and how it ended",
    "FutureTests.test_running": "running() is true from submission on: the engine has the task",
    "ProcessPoolExecutorTest.test_idle_process_reuse_multiple": ALL_AT_ONCE,
    "ProcessPoolExecutorTest.test_idle_process_reuse_one": ALL_AT_ONCE,
    "ProcessPoolExecutorTest.test_killed_child": ONE_TASK_FAILS,
    "ProcessPoolExecutorTest.test_max_workers_too_large": "skipped: Windows alone has that limit",
    "ProcessPoolExecutorTest.test_saturation": f"{AT_THE_CALL}; a semaphore is such a thing",
    "ProcessPoolExecutorTest.test_traceback": "the exception has its own traceback, not a cause with the text of one",
    "ProcessPoolShutdownTest.test_processes_terminate": f"{AT_THE_CALL}; a semaphore is such a thing",
    "ExecutorDeadlockTest.test_error_at_task_pickle": AT_THE_CALL,
    "ExecutorDeadlockTest.test_error_at_task_unpickle": ONE_TASK_FAILS,
    "ExecutorDeadlockTest.test_error_during_result_unpickle_in_result_handler": ONE_TASK_FAILS,
    "ExecutorDeadlockTest.test_exit_at_task_unpickle": ONE_TASK_FAILS,
    "ExecutorDeadlockTest.test_exit_during_result_unpickle_in_result_handler": ONE_TASK_FAILS,
    "ExecutorDeadlockTest.test_shutdown_deadlock_pickle": AT_THE_CALL,
}
IN_SOME_VERSIONS = {
    "ExecutorDeadlockTest.test_gh105829_should_not_deadlock_if_wakeup_pipe_full": "it replaces parts of the pool",
    "ProcessPoolExecutorTest.test_max_tasks_per_child_defaults_to_spawn_context": NO_CONTEXT,
    "ProcessPoolExecutorTest.test_python_finalization_error": "the error of the thread is raised by the call itself",
}


def directory_of_cpythons_tests() -> str:
    """The directory with their package ``test``; skips where they cannot be had."""
    directory = TOP / ".cpython-tests" / f"{sys.version_info.major}.{sys.version_info.minor}"
    found = subprocess.run(
        [TOP / "tools" / "cpython_tests.sh", sys.executable, directory], capture_output=True, text=True, timeout=120
    )
    if found.returncode:
        pytest.skip(found.stderr.strip())
    return found.stdout.strip()


def outcomes(directory: str, group: str) -> dict[str, str]:
    """What became of each test of a group."""
    command: list[str | Path] = [
        sys.executable,
        TOP / "tests" / "support" / "tasks" / "cpython_adapter.py",
        directory,
        group,
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert run.returncode == 0, run.stderr
    outcomes: dict[str, str] = json.loads(run.stdout)
    assert outcomes, f"there are no tests in {group}"
    return outcomes


ALL = ("future", "initializer", "shutdown", "executor", "crashes", "waits")


@pytest.mark.timeout(2 * TIMEOUT)
@pytest.mark.parametrize(
    "groups",
    [
        pytest.param(("future",), id="futures"),
        pytest.param(ALL, id="all", marks=pytest.mark.matrix),
        pytest.param(("own_waits",), id="with our wait and as_completed", marks=pytest.mark.matrix),
    ],
)
def test_cpythons_own_tests_pass(groups: tuple[str, ...]) -> None:
    directory = directory_of_cpythons_tests()
    with ThreadPoolExecutor(3) as pool:
        of = {
            name: said for result in pool.map(lambda g: outcomes(directory, g), groups) for name, said in result.items()
        }
    known = DIFFERENCES | IN_SOME_VERSIONS
    unexpected = [f"{name}: {said}" for name, said in of.items() if said != "passed" and name not in known]
    assert not unexpected, "\n\n".join(unexpected)
    passing = [name for name, said in of.items() if said == "passed" and name in known]
    assert not passing, "no differences any more"
    if groups == ALL:
        assert not DIFFERENCES.keys() - of.keys(), "no tests of CPython's"
