"""Dask's own tests, whose graphs run on an executor wherever they name a scheduler, or none."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from kernel_environments import LIBRARIES, python_of

# ``tests/test_order.py`` runs nothing, ``test_threaded.py`` and ``test_local.py`` are about other schedulers.
FILES = (
    *("test_base", "test_callbacks", "test_context", "test_delayed", "bag/tests/test_bag", "bag/tests/test_random"),
    *("array/tests/test_array_core", "array/tests/test_creation", "array/tests/test_overlap"),
)
OF_ITS_POOL = ("test_multiprocessing",)

HERE = "looks in its own process for what a task has done there: in no pool of processes is it to be found"
SAME = "compares with `==` what is equal to itself alone, and comes back as another object"
LOCKS = "hands a lock of this process to the tasks, or asks for a number of workers"
# All that is about a scheduler fails with the standard library's ProcessPoolExecutor too.
EXCLUDED = {
    "test_store": HERE,
    "test_store_regions": HERE,
    "test_store_compute_false": HERE,
    "test_store_delayed_target": HERE,
    "test_store_sources_unoptimized_nocompute": HERE,
    "test_memmap": HERE,
    "test_from_array_getitem": HERE,
    "test_from_array_with_lock": HERE,
    "test_compute_delayed_dataframe": HERE,
    "test_take_npartitions_warn": HERE,
    "test_repartition_partition_size_complex_dtypes": SAME,
    "test_bag_with_single_callable": SAME,
    "test_store_locks_failure_lock_released": LOCKS,
    "test_store_locks_one_lock_two_stores": LOCKS,
    "test_store_locks_dont_assume_threadsafe": LOCKS,
    "test_store_locks_no_lock": LOCKS,
    "test_store_locks_count_calls": LOCKS,
    "test_from_delayed_iterator": "hands a generator that has begun to a task",
    "test_reductions_are_lazy": "likewise",
    "test_compute_array_bag": "wants arrays and bags to have different schedulers",
    "test_persist_array_bag": "likewise",
    "test_get_scheduler": "asks which function a scheduler's name stands for",
    "test_process_initializer": "has Dask make a pool, and initialize its processes",
    "test_custom_context_used_python3_posix": "likewise",
    "test_binary_operator_delegation": "needs a plugin of pytest",
}

PLUGIN = """
import dask.base
from scaler_notebook import NotebookExecutor

executor = NotebookExecutor(n_workers=2, stream_output=False)


def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if item.originalname not in {excluded!r}]


def pytest_unconfigure():
    executor.shutdown()


"""
# By every name, for the tests' own comparisons say "sync".
EVERYWHERE = """
on_executor = dask.base.get_scheduler(scheduler=executor)
dask.base.named_schedulers.update(dict.fromkeys(dask.base.named_schedulers, on_executor))
"""
AS_POOL = "dask.config.set(pool=executor)"


@pytest.mark.matrix
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("files", "used", "at_least"),
    [pytest.param(FILES, EVERYWHERE, 800, id="scheduler"), pytest.param(OF_ITS_POOL, AS_POOL, 15, id="pool")],
)
def test_dasks_own_tests_pass(tmp_path: Path, files: tuple[str, ...], used: str, at_least: int) -> None:
    python = python_of(LIBRARIES)
    found = subprocess.run(
        [python, "-c", "import dask; print(*dask.__path__)"], capture_output=True, text=True, check=True
    )
    dask = Path(found.stdout.strip())
    (tmp_path / "on_executor.py").write_text(PLUGIN.format(excluded=set(EXCLUDED)) + used)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  network\n  slow\n  gpu\n  flaky\n  array_expr\n")
    paths = [str(dask / (name if "/" in name else f"tests/{name}")) + ".py" for name in files]
    quiet = ["-q", "--tb=short", "-p", "no:cacheprovider", "-c", str(tmp_path / "pytest.ini"), f"--rootdir={tmp_path}"]
    ran = subprocess.run(
        [python, "-m", "pytest", "-p", "on_executor", *quiet, "-m", "not slow and not network and not gpu", *paths],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert passed is not None
    assert int(passed[1]) > at_least
