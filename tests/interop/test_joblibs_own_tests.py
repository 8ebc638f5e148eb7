"""joblib's own tests of ``Parallel``, with this package's backend among those that they are run for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import joblib.test
import pytest

PROCESSES = 'PROCESS_BACKENDS = ["multiprocessing", "loky"]'
ALL = 'PARALLEL_BACKENDS = PROCESS_BACKENDS + ["threading"]'

OTHERS_INTERNALS = {
    "test_parallel_as_context_manager": "looks at the attributes in which joblib's own backends have their pools",
    "test_error_capture": "likewise",
    "test_nested_backend_in_sequential": "says that n_jobs=None is 1; here it is all workers, as with dask's backend",
    "test_auto_memmap_on_arrays_from_generator": "wants arrays as memory-mapped files; here they are in shared memory",
    "test_memmapping_leaks": "likewise",
    "test_initializer_context": "loky's option; here the executor has an initializer",
    "test_initializer_parallel": "likewise",
    "back_compat_backend": "a backend that only the test's own process knows, for calls within a task",
    "scaler_notebook-multiprocessing": "pickles by name, in a task, a function of a module that pytest has loaded",
}


@pytest.mark.matrix
@pytest.mark.timeout(600)
def test_joblibs_own_tests_pass(tmp_path: Path) -> None:
    text = Path(joblib.test.__file__).with_name("test_parallel.py").read_text()
    assert PROCESSES in text
    assert ALL in text
    text = text.replace(PROCESSES, 'PROCESS_BACKENDS = ["scaler_notebook"]').replace(
        ALL, "PARALLEL_BACKENDS = PROCESS_BACKENDS"
    )
    own = tmp_path / "test_joblib_parallel.py"
    own.write_text(f"import scaler_notebook.interop.joblib\n{text}")
    # Scripts that the tests run, and loky's processes, know the backend too.
    (tmp_path / "sitecustomize.py").write_text("import scaler_notebook.interop.joblib\n")
    wanted = " and ".join(["scaler_notebook", *(f"not {name}" for name in OTHERS_INTERNALS)])
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--rootdir={tmp_path}",
            str(own),
            "-k",
            wanted,
        ],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
    )
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert ran.returncode == 0, ran.stdout[-6000:]
    assert passed is not None
    assert int(passed[1]) > 90
