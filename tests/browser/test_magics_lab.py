"""``%%scaler`` in JupyterLab: a cell that runs as a task, seen and stopped in its card."""

from __future__ import annotations

import pytest
from lab import LabNotebook
from lab_server import LabServer
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CELLS = [
    "%load_ext scaler_notebook\nfrom IPython.display import HTML\nimport os, time\nstart = 3",
    "%%scaler --out found --progress-after 0\n"
    "print('looking')\n"
    "display(HTML('<b class=mine>half way</b>'))\n"
    "while not os.path.exists('enough'): time.sleep(0.05)\n"
    "print('found it')\n"
    "found = start + 1\n"
    "HTML('<i class=mine>the end</i>')",
    "print('meanwhile')",
    "print(found)",
    "%%scaler --progress-after 0\ndisplay(HTML('<b class=mine>again</b>'))\nwhile True: time.sleep(1)",
    "%scaler stop",
]


def test_a_cell_in_the_background(notebook: LabNotebook, lab_server: LabServer) -> None:
    enough = lab_server.notebooks / "enough"
    enough.unlink(missing_ok=True)
    for cell in (1, 2):
        notebook.run(cell)
        notebook.wait_until_run(cell)
    card = notebook.page.locator(".scaler-card").first
    expect(card.locator(".scaler-word")).to_have_text("running")
    expect(card.locator(".scaler-tail")).to_have_text("looking")
    expect(card.locator("b.mine")).to_have_text("half way")  # while it runs, and the next cell has run
    expect(card.locator(".scaler-call")).to_have_text("print('looking') …")
    enough.touch()
    expect(card.locator(".scaler-word")).to_have_text("done")
    expect(card).to_contain_text("found it")
    expect(card.locator(".mine")).to_have_text(["half way", "the end"])
    notebook.run(3)
    notebook.wait_until_run(3)
    assert notebook.text(3).strip().endswith("4")
    notebook.run(4)
    notebook.wait_until_run(4)
    card = notebook.output(4)
    expect(card.locator("b.mine")).to_have_text("again")
    card.locator(".scaler-cancel").click()
    expect(card.locator(".scaler-badge")).to_have_text("cancelled: stopped")
    expect(card.locator("b.mine")).to_have_text("again")
    notebook.run(5)
    notebook.wait_until_run(5)
