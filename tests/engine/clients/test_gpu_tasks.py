"""Tasks with GPUs, on pretended ones: what each sees, in which process it runs, and what is told of it."""

from __future__ import annotations

import importlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waits import SAFETY, until_running

from scaler_notebook import CapabilityError, NotebookExecutor, ProcessorDiedError
from scaler_notebook.notebook.magics.tables import status_table
from scaler_notebook.notebook.views.board.board_row import read_row
from scaler_notebook.notebook.views.rows import row
from scaler_notebook.testing import memory_executor

VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def sees() -> tuple[int, str]:
    """Return the process, and what a library sees there."""
    cuda, hip = (os.environ[variable] for variable in VARIABLES)
    assert cuda == hip
    return os.getpid(), cuda


@pytest.fixture
def ex() -> Iterator[NotebookExecutor]:
    with NotebookExecutor(n_workers=3, gpus=["a", "b"]) as executor:
        yield executor


def test_each_task_sees_its_own_and_a_process_serves_one_device_alone(ex: NotebookExecutor) -> None:
    futures = [ex.submit_verbose(sees, gpus=1) for _ in range(8)]
    ran = {future.result(SAFETY) for future in futures}
    assert {device for _, device in ran} <= {"a", "b"}
    assert len({process for process, _ in ran}) == len(ran), "none has served two"
    assert all(future.gpus == (future.result()[1],) for future in futures)
    assert ex.submit(sees).result(SAFETY)[1] == "-1", "who asks for none sees none"
    assert ex.submit_verbose(sees, gpus=2).result(SAFETY)[1] == "a,b"
    assert ex.submit_verbose(sees, gpus=0.5).result(SAFETY)[1] in "ab"
    dying = [ex.submit_verbose(os._exit, (1,), gpus=1) for _ in range(3)]
    assert all(isinstance(future.exception(SAFETY), ProcessorDiedError) for future in dying), "a device outlives it"
    assert ex.submit_verbose(sees, gpus=2).result(SAFETY)[1] == "a,b"


def test_it_is_set_before_anything_of_the_users_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "framework_of_mine.py").write_text(f"import os\nSEEN = os.environ[{VARIABLES[0]!r}]\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(VARIABLES[0], "7,8")

    def prepare() -> None:
        framework: Any = importlib.import_module("framework_of_mine")
        framework.prepared = os.environ[VARIABLES[0]]

    def seen() -> tuple[str, str, str]:
        framework: Any = importlib.import_module("framework_of_mine")
        return framework.SEEN, framework.prepared, os.environ["CUDA_DEVICE_ORDER"]

    with NotebookExecutor(n_workers=1, gpus=[1], initializer=prepare) as ex:
        assert ex.gpus == ("8",), "numbers count what the user leaves visible"
        assert ex.submit_verbose(seen, gpus=1).result(SAFETY) == ("8", "8", "PCI_BUS_ID")
        assert ex.submit(seen).result(SAFETY)[:2] == ("-1", "-1")


def test_without_gpus_the_users_variables_are_the_tasks(
    executor: NotebookExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLES[0], "7")
    assert executor.submit(os.environ.get, VARIABLES[0]).result(SAFETY) == "7"
    with pytest.raises(CapabilityError, match=r"its engine has none. .*NotebookExecutor\(gpus='auto'\)"):
        executor.submit_verbose(sees, gpus=1)


def test_what_is_told_of_them(ex: NotebookExecutor) -> None:
    running = ex.submit_verbose(time.sleep, (60,), gpus=2)
    until_running(running)
    assert running.gpus == ("a", "b")
    assert row(running)["word"] == "running on GPUs a, b"
    assert read_row(running).processor == f"GPUs a, b · {running.processor}"
    assert f"process {running.processor}, GPUs a, b" in str(running.trace())
    status = ex.engine_status()
    assert status is not None
    table, _ = status_table("an engine", status)
    assert table.headings[:2] == ["process", "GPU"]
    assert [line[1] for line in table.rows if line[0] == running.processor] == ["a, b"]
    waiting = ex.submit_verbose(sees, gpus=2)
    assert running.cancel(SAFETY)
    assert row(running)["word"] == "cancelled on GPUs a, b"
    assert waiting.result(SAFETY)[1] == "a,b"


def test_other_clients_and_tasks_share_them(ex: NotebookExecutor) -> None:
    def outer() -> tuple[str, str]:
        inner = NotebookExecutor()
        assert inner.gpus == ("a", "b")
        return sees()[1], inner.submit_verbose(sees, gpus=2).result()[1]

    with NotebookExecutor(ex.address) as other:
        assert other.gpus == ("a", "b")
        with pytest.raises(CapabilityError, match="at most 2"):
            other.submit_verbose(sees, gpus=3)
        assert other.submit_verbose(outer, gpus=2).result(SAFETY) == ("a,b", "a,b"), "who waits lends what it has"


@pytest.mark.parametrize("auto", [False, True])
def test_threads_have_what_this_process_has(auto: bool) -> None:
    with memory_executor(auto=auto) as executor:
        assert executor.gpus is None
        with pytest.raises(
            ValueError, match=r"the engine of sees gives tasks no GPUs.*threads have what this process has"
        ):
            executor.submit_verbose(sees, gpus=1, name="sees")


def test_an_engine_at_an_address_has_what_it_has() -> None:
    with pytest.raises(ValueError, match=re.escape("give an address or gpus")):
        NotebookExecutor("tcp://127.0.0.1:1", gpus="auto")
