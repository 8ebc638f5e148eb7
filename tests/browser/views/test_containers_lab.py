"""Our views within ipywidgets' own containers, in JupyterLab: they are live there, and say how it ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab import LabNotebook
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.matrix]

CELLS = [
    "import os, ipywidgets\nfrom scaler_notebook import NotebookExecutor\n"
    "ex = NotebookExecutor(n_workers=3)\n"
    "def wait_for(gate, n):\n    with open(gate) as file: return file.read() * n\n",
    "out = ipywidgets.Output()\ndisplay(out)\n"
    "with out:\n    display(ex.submit(wait_for, GATE, 1))\n    display(ex.map_async(abs, [-1, -2]))",
    "@ipywidgets.interact(n=(1, 3))\ndef run(n=1): return ex.submit(abs, -n)",
    "appended = ipywidgets.Output()\nappended.append_display_data(ex.submit(abs, -7))\nappended",
]


def test_views_in_containers(notebook: LabNotebook, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    notebook.execute(f"GATE = {str(gate)!r}\nos.mkfifo(GATE)")
    for cell in (1, 2, 3):
        notebook.run(cell)
        notebook.wait_until_run(cell)
    card = notebook.output(1).locator(".scaler-card")
    expect(card.locator(".scaler-badge")).to_have_text("running")
    gate.write_text("seen")
    expect(card.locator(".scaler-badge")).to_have_text("done")
    expect(card).to_contain_text("seen")
    expect(notebook.output(1).locator(".scaler-board")).to_contain_text("2 done")
    expect(notebook.output(3)).to_contain_text("abs(-7)")

    interact = notebook.output(2)
    expect(interact).to_contain_text("abs(-1)")
    interact.get_by_role("slider").press("ArrowRight")
    expect(interact).to_contain_text("abs(-2)")
    expect(interact).not_to_contain_text("abs(-1)")
