"""A graph on its board in real JupyterLab: its edges, what falls with what, one's way through it by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from lab import DARK, LIGHT, Lab, LabNotebook
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CELLS = [
    "import time\n"
    "%load_ext scaler_notebook\n"
    "from scaler_notebook import NotebookExecutor, progress\n"
    "ex = NotebookExecutor(n_workers=2, grace=0.3)\n"
    "ex.submit(abs, -1).result()\n"
    "def load(n): return list(range(n))\n"
    "def clean(rows): return rows[1:]\n"
    "def fit(rows):\n"
    "    for step in progress(range(1000), note='epochs'): time.sleep(1)\n"
    "def check(rows): raise ValueError('too few rows')\n"
    "def report(*parts): return parts\n"
    "graph = {'n': 10, 'raw': (load, 'n'), 'rows': (clean, 'raw'), 'model': (fit, 'rows'),\n"
    "         'checks': (check, 'rows'), 'summary': (report, 'checks'), 'report': (report, 'model', 'summary', 'n')}\n",
    "futures = ex.get(graph, ['report', 'summary'], block=False)\nfutures",
]


@pytest.fixture(params=[LIGHT, pytest.param(DARK, marks=pytest.mark.matrix)])
def theme(request: pytest.FixtureRequest, lab: Lab) -> Iterator[None]:
    lab.use_theme(request.param)
    yield
    lab.use_theme(LIGHT)


@pytest.mark.usefixtures("theme")
def test_a_graph_on_its_board(notebook: LabNotebook, tmp_path: Path) -> None:
    notebook.run(1)
    page = notebook.page
    board = page.locator(".scaler-board")
    box = {
        key: board.locator(f'.scaler-node:has(.scaler-node-name:text-is("{key}"))')
        for key in ("raw", "rows", "model", "checks", "summary", "report")
    }
    expect(board.locator(".scaler-node")).to_have_count(6)
    expect(board.locator(".scaler-edges path")).to_have_count(6)
    expect(box["raw"]).to_have_attribute("data-kind", "done")
    expect(box["model"]).to_have_attribute("data-kind", "running")
    expect(box["checks"]).to_have_attribute("data-kind", "failed")
    expect(box["summary"]).to_have_attribute("data-kind", "failed")
    expect(box["report"]).to_have_attribute("data-kind", "failed")
    expect(box["model"].locator(".scaler-node-done")).to_be_visible()
    left = {key: found.bounding_box()["x"] for key, found in box.items()}  # type: ignore[index]
    assert left["raw"] < left["rows"] < left["model"] == left["checks"] < left["summary"] < left["report"]
    page.screenshot(path=tmp_path / "running.png")

    box["summary"].click()
    pane = board.locator(".scaler-pane")
    expect(pane).to_contain_text("too few rows")
    expect(pane).to_contain_text("from checks = check(rows)")
    page.screenshot(path=tmp_path / "open.png")
    report = Axe().run(page, context=".scaler-board")
    assert report.violations_count == 0, report.generate_report()
    page.keyboard.press("Escape")
    expect(pane).to_be_hidden()

    board.locator(".scaler-search").fill("clean(")
    expect(board.locator(".scaler-node:not(.scaler-dim)")).to_have_count(1)
    expect(board.locator(".scaler-edges .scaler-dim")).to_have_count(6)
    board.locator(".scaler-search").fill("")
    expect(board.locator(".scaler-edges .scaler-dim")).to_have_count(0)

    box["raw"].focus()
    for key, name in [("ArrowRight", "rows"), ("ArrowRight", None), ("End", "report"), ("Home", "raw")]:
        page.keyboard.press(key)
        if name is not None:
            expect(box[name]).to_be_focused()
    box["model"].focus()
    page.keyboard.press("Enter")
    pane.get_by_role("button", name="Cancel").click()
    expect(box["model"]).to_have_attribute("data-kind", "cancelled")
    board.get_by_role("button", name="Table", exact=True).click()
    expect(board.locator(".scaler-graph")).to_be_hidden()
    board.get_by_role("button", name="Graph", exact=True).click()
    expect(box["report"]).to_be_visible()
