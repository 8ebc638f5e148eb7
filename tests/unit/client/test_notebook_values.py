"""Plain values that the notebook has set in its modules, in a process that imports the modules by itself."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from waits import SAFETY

from scaler_notebook.task.modules.notebook_values import NotebookValues

HALFWAY = """
import {gate}
{gate}.halfway.set()
{gate}.goes_on.wait(60)
RATE = 1
"""


class Gate(ModuleType):
    """A module that another one, which is being imported, waits for."""

    def __init__(self) -> None:
        super().__init__("values_gate")
        self.halfway, self.goes_on = threading.Event(), threading.Event()


def test_a_module_that_another_thread_imports_just_now_keeps_its_own_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "values_halfway.py").write_text(HALFWAY.format(gate="values_gate"))
    monkeypatch.syspath_prepend(tmp_path)
    gate = Gate()
    monkeypatch.setitem(sys.modules, "values_gate", gate)
    importing = threading.Thread(target=__import__, args=("values_halfway",))
    importing.start()
    assert gate.halfway.wait(SAFETY)
    values = NotebookValues()
    values.adopt("", {"values_halfway": {"RATE": 2}})
    gate.goes_on.set()
    importing.join(SAFETY)
    module: Any = sys.modules["values_halfway"]
    values.apply()
    assert module.RATE == 2
    values.adopt("", {})
    assert module.RATE == 1
    del sys.modules["values_halfway"]
