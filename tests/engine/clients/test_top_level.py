"""A module that uses an executor at its top level is imported where its functions run: engines have no end there."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from waits import SAFETY

from scaler_notebook import EngineStartError, LocalCluster, NotebookExecutor, ScalerFuture
from scaler_notebook.engines.local.client.connection_file import engines
from scaler_notebook.task import top_level

BEGIN = """
import os
from scaler_notebook import Client, LocalCluster, NotebookExecutor
ours = os.getpid() == KERNEL
executor = NotebookExecutor(n_workers=1)
def works(x=-1):
    return abs(x)
"""
USES = {
    "submit": "executor.submit(works)",
    "result": "executor.submit(works if not ours else abs, -1).result(10)",
    "map": "list(executor.map(works if not ours else abs, [-1]))",
    "start": "executor.start()",
    "address": "executor.address",
    "with": "with executor: executor.submit(works)",
    "in a function": "def begin():\n    return executor.submit(works)\nbegin()",
    "in a class": "class Settings:\n    future = executor.submit(works)",
    "of the task's engine": "if ours: executor.start()\nelse: executor = NotebookExecutor(); executor.submit(works)",
    "Client": "if ours: executor.start()\nelse: Client(HOME)",
    "LocalCluster": "cluster = LocalCluster(n_workers=1)\nif ours: cluster.shutdown()",
}
ENDS = "if ours: executor.shutdown()"


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of this text, which task processes can import, too."""
    monkeypatch.syspath_prepend(tmp_path)

    def made(text: str) -> ModuleType:
        (tmp_path / "used_at_top_level.py").write_text(text)
        return importlib.import_module("used_at_top_level")

    yield made
    sys.modules.pop("used_at_top_level", None)


def engines_of_this_run() -> set[str]:
    """Addresses; those that tests start in task processes are among them."""
    return {each.endpoint for each in engines() if os.environ["XDG_RUNTIME_DIR"] in each.endpoint}


def imports_by_name() -> object:
    import used_at_top_level  # type: ignore[import-not-found]

    return used_at_top_level


def imports_by_path(path: str) -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("loaded_by_path", path)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


@pytest.mark.parametrize("use", USES)
def test_a_module_that_uses_one_is_refused_in_tasks(
    use: str, imported: Callable[[str], ModuleType], executor: NotebookExecutor
) -> None:
    before = engines_of_this_run()
    begin = BEGIN.replace("KERNEL", str(os.getpid())) + f"HOME = {executor.address!r}\n"
    module = imported("\n".join([begin, USES[use], ENDS]))
    error = executor.submit(module.works).exception(SAFETY)
    assert isinstance(error, RuntimeError)
    assert "before the current process has finished its bootstrapping phase" in str(error)
    assert "if __name__ == '__main__':" in str(error)
    assert "module used_at_top_level" in str(error)
    assert engines_of_this_run() == before
    assert executor.submit(abs, -1).result(SAFETY) == 1


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_every_way_of_an_import_is_seen(
    method: str, imported: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALER_NOTEBOOK_START_METHOD", method)
    module = imported(BEGIN.replace("KERNEL", str(os.getpid())) + "if not ours: executor.submit(works)")
    with NotebookExecutor(n_workers=1) as executor:
        ways: list[ScalerFuture[Any]] = [
            executor.submit(imports_by_name),
            executor.submit(importlib.import_module, "used_at_top_level"),
            executor.submit(imports_by_path, str(tmp_path / "used_at_top_level.py")),
            executor.submit(module.works),
        ]
        for way in ways:
            with pytest.raises(RuntimeError, match="bootstrapping phase"):
                way.result(SAFETY)


def test_one_that_is_used_in_functions_alone_may_be_there(
    imported: Callable[[str], ModuleType], executor: NotebookExecutor
) -> None:
    begin = BEGIN.replace("KERNEL", str(os.getpid()))
    module = imported(begin + "def nested():\n    return executor.submit(works, -2).result(10)\n")
    assert executor.submit(module.works).result(SAFETY) == 1
    assert executor.submit(module.nested).result(SAFETY) == 2


def test_how_deep_engines_nest_is_bounded(monkeypatch: pytest.MonkeyPatch, new_executor: NotebookExecutor) -> None:
    def depth() -> str:
        return os.environ[top_level.VARIABLE]

    def nested() -> str:
        with NotebookExecutor(n_workers=1) as inner:
            return inner.submit(depth).result(10)

    assert new_executor.submit(depth).result(SAFETY) == "1"
    assert new_executor.submit(nested).result(SAFETY) == "2"
    monkeypatch.setenv(top_level.VARIABLE, str(top_level.MAX_DEPTH))
    for start in (NotebookExecutor(n_workers=1).start, LocalCluster):
        with pytest.raises(EngineStartError, match=f"nest {top_level.MAX_DEPTH} deep"):
            start()


SPAWNS = """
import multiprocessing, sys
from scaler_notebook import NotebookExecutor
executor = NotebookExecutor(n_workers=1)
if __name__ == "__main__" or not GUARDED:
    print(executor.submit(abs, -1).result(20), flush=True)
if __name__ == "__main__":
    context = multiprocessing.get_context(METHOD)
    process = context.Process(target=print, args=("in the child",))
    process.start()
    process.join(20)
    sys.exit(process.exitcode)
"""


@pytest.mark.parametrize("method", ["spawn", pytest.param("forkserver", marks=pytest.mark.matrix)])
def test_multiprocessing_imports_the_main_module(method: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    for guarded in (True, False):
        script.write_text(SPAWNS.replace("GUARDED", str(guarded)).replace("METHOD", repr(method)))
        done = subprocess.run([sys.executable, script], timeout=60, capture_output=True, text=True)
        if guarded:
            assert (done.returncode, done.stdout) == (0, "1\nin the child\n"), done.stderr
        else:
            assert (done.returncode, done.stdout) == (1, "1\n")
            assert "bootstrapping phase" in done.stderr
            assert f"__mp_main__ ({script}, line 6)" in done.stderr


def test_clients_may_be_arguments_of_spawned_processes(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        """
import multiprocessing, sys
from scaler_notebook import Client, NotebookExecutor
def use(executor, client):
    print(executor.submit(abs, -1).result(20), client.submit(abs, -2).result(20), flush=True)
if __name__ == "__main__":
    with NotebookExecutor(n_workers=1) as executor, Client(executor.address) as client:
        process = multiprocessing.get_context("spawn").Process(target=use, args=(executor, client))
        process.start()
        process.join(20)
        sys.exit(process.exitcode)
"""
    )
    done = subprocess.run([sys.executable, script], timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "1 2\n"), done.stderr
