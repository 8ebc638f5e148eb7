"""A task sees what the kernel's own code would see: directory, path, environment, edited modules."""

from __future__ import annotations

import concurrent.futures
import importlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waits import SAFETY, until_running

from scaler_notebook import NotebookExecutor
from scaler_notebook.client import system_calls
from scaler_notebook.client.context import notebook_settings
from scaler_notebook.engines.local.resource_limits import THREAD_VARIABLES, available_cores


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What a test changes of this process is put back."""
    path = list(sys.path)
    monkeypatch.chdir(tmp_path)
    yield
    sys.path[:] = path
    sys.modules.pop("local_module", None)


def test_a_task_runs_in_the_working_directory_of_now(executor: NotebookExecutor, tmp_path: Path) -> None:
    assert executor.submit(os.getcwd).result(SAFETY) == str(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.chdir(elsewhere)
    assert executor.submit(os.getcwd).result(SAFETY) == str(elsewhere)


def test_without_a_c_library_pythons_own_functions_do_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(system_calls, "_getcwd", None)
    monkeypatch.setattr(system_calls, "_write", None)
    with NotebookExecutor(n_workers=1) as executor:
        assert executor.submit(os.getcwd).result(SAFETY) == str(tmp_path)
        assert list(executor.map(abs, range(-3, 0))) == [3, 2, 1]


def test_a_task_that_changes_its_directory_does_not_move_the_next(tmp_path: Path) -> None:
    with NotebookExecutor(n_workers=1) as executor:
        executor.submit(os.chdir, "/").result(SAFETY)
        assert executor.submit(os.getcwd).result(SAFETY) == str(tmp_path)


def test_a_directory_that_is_gone_fails_the_task_clearly(executor: NotebookExecutor, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    blockers = [executor.submit(time.sleep, 0.3) for _ in range(2)]
    for blocker in blockers:
        until_running(blocker)
    future = executor.submit(os.getcwd)
    gone.rmdir()
    with pytest.raises(FileNotFoundError, match="gone"):
        future.result(SAFETY)


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_files_that_a_task_makes_have_the_users_mode(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALER_NOTEBOOK_START_METHOD", method)
    former = os.umask(0o027)
    try:
        with NotebookExecutor(n_workers=1) as executor:
            executor.submit((tmp_path / "made").touch).result(SAFETY)
    finally:
        os.umask(former)
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o640


def test_the_users_mode_is_that_of_the_submit(
    executor_of_one: NotebookExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook_settings, "FRESH", 0.0)
    former = os.umask(0o022)
    try:
        for mask in (0o077, 0o002, 0o022):
            os.umask(mask)
            executor_of_one.submit((tmp_path / f"{mask:o}").touch).result(SAFETY)
    finally:
        os.umask(former)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("77", "2", "22")] == [0o600, 0o664, 0o644]


def test_path_and_environment_are_followed(
    executor: NotebookExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert executor.submit(os.environ.get, "SCALER_COLOUR").result(SAFETY) is None
    monkeypatch.setenv("SCALER_COLOUR", "blue")
    assert executor.submit(os.getenv, "SCALER_COLOUR").result(SAFETY) == "blue"
    monkeypatch.delenv("SCALER_COLOUR")
    assert executor.submit(os.getenv, "SCALER_COLOUR").result(SAFETY) is None
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "local_module.py").write_text("def answer(): return 42\n")
    sys.path.append(str(tmp_path / "library"))
    assert executor.submit(importlib.import_module("local_module").answer).result(SAFETY) == 42


def test_an_edited_module_is_never_served_stale(new_executor: NotebookExecutor, tmp_path: Path) -> None:
    source = tmp_path / "local_module.py"
    source.write_text("def answer(): return 'old'\n")
    sys.path.insert(0, str(tmp_path))
    module = importlib.import_module("local_module")
    # Both processes import it.
    answers = [new_executor.submit(lambda: (time.sleep(0.05), module.answer())[1]) for _ in range(4)]
    assert {future.result(SAFETY) for future in answers} == {"old"}
    source.write_text("def answer(): return 'newer'\n")
    importlib.invalidate_caches()
    importlib.reload(module)
    answers = [new_executor.submit(module.answer) for _ in range(8)]
    assert {future.result(SAFETY) for future in answers} == {"newer"}


def test_blas_threads_share_the_cores(executor: NotebookExecutor) -> None:
    wanted = str(max(1, available_cores() // 2))
    assert {os.environ.get(name) for name in THREAD_VARIABLES} == {None}, "the test presumes that nobody set them"
    assert executor.submit(lambda: {os.environ[name] for name in THREAD_VARIABLES}).result(SAFETY) == {wanted}


def test_the_users_own_thread_setting_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with NotebookExecutor(n_workers=1) as executor:
        assert executor.submit(os.getenv, "OMP_NUM_THREADS").result(SAFETY) == "7"


def square_in_children(numbers: list[int], method: str) -> list[int]:
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        return list(pool.map(abs, numbers))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_task_may_start_processes(new_executor: NotebookExecutor, method: str) -> None:
    assert new_executor.submit(square_in_children, [-1, -2], method).result(30) == [1, 2]


def test_every_process_has_a_session_of_its_own(executor: NotebookExecutor) -> None:
    session, pid = executor.submit(lambda: (os.getsid(0), os.getpid())).result(SAFETY)
    assert session == pid
    assert session != os.getsid(0)


def test_spares_import_what_tasks_had_to_import() -> None:
    def imports() -> None:
        import colorsys  # noqa: F401

    def has() -> bool:
        return "colorsys" in sys.modules

    with NotebookExecutor(n_workers=1) as executor:
        executor.submit(imports).result(SAFETY)
        deadline = time.monotonic() + SAFETY
        while True:
            executor.submit(os._exit, 0).exception(SAFETY)
            if executor.submit(has).result(SAFETY):
                break
            assert time.monotonic() < deadline, "no new process ever had it before its first task"


def test_a_module_that_kills_its_importer_does_not_kill_every_spare(
    install: Callable[[str], str],
) -> None:
    name = install("import os\nif 'FIRST' in os.environ: pass\nelse: os._exit(3)\n")

    def imports() -> None:
        os.environ["FIRST"] = "1"
        importlib.import_module(name)

    with NotebookExecutor(n_workers=1) as executor:
        executor.submit(imports).result(SAFETY)
        for _ in range(20):
            assert executor.submit(abs, -1).result(SAFETY) == 1
        executor.submit(os._exit, 0).exception(SAFETY)
        for _ in range(20):
            assert executor.submit(abs, -1).result(SAFETY) == 1


def test_the_processes_of_an_engine_have_one_hash_seed(executor_of_one: NotebookExecutor) -> None:
    def hashed() -> tuple[int, int]:
        return os.getpid(), hash("some text")

    first = executor_of_one.submit(hashed).result(SAFETY)
    executor_of_one.submit(os._exit, 0).exception(SAFETY)
    second = executor_of_one.submit(hashed).result(SAFETY)
    assert first[0] != second[0]
    if sys.platform == "linux":
        assert first[1] == second[1]
