"""A card outlives what happens to its page, and says so when its kernel is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import LabNotebook, LabServer
from playwright.sync_api import BrowserContext, Locator, expect

pytestmark = pytest.mark.browser

SETUP = """
import os, time
from scaler_notebook import NotebookExecutor
ex = NotebookExecutor(n_workers=4)
def sleep():
    return ex.submit(time.sleep, 600)
"""
SHOW = "f = sleep()\nf"
ENDED = "the kernel has ended, and its tasks with it"


@pytest.fixture
def notebook(shared_server: LabServer, context: BrowserContext, tmp_path: Path) -> Iterator[LabNotebook]:
    shared_server.write_notebook(f"{tmp_path.name}.ipynb", [SETUP])
    opened = LabNotebook.open(context, shared_server, f"{tmp_path.name}.ipynb")
    opened.run(0)
    opened.wait_until_run(0)
    yield opened
    assert opened.problems == [], "the page threw errors"
    opened.page.close()
    shared_server.shut_down_kernels()


def badge(card: Locator) -> Locator:
    return card.locator(".scaler-badge")


def cancel(card: Locator) -> None:
    expect(badge(card)).to_have_text("running")
    card.locator(".scaler-cancel").click()
    expect(badge(card)).to_have_text("cancelled: stopped")


COMMS = "import comm; print(len(comm.get_comm_manager().comms))"


def wait_for_text(notebook: LabNotebook, source: str, text: str) -> None:
    """Run a cell again and again until it says ``text``."""
    for _ in range(100):
        said = notebook.text(notebook.execute(source))
        if said == text:
            return
        notebook.page.wait_for_timeout(100)
    raise AssertionError(f"{source!r} says {said!r}, not {text!r}")


def test_a_page_that_is_loaded_again(notebook: LabNotebook) -> None:
    """While the kernel is idle, and while a cell waits. The page's cards stay when their tasks end."""
    idle = notebook.output(notebook.execute(SHOW))
    other = notebook.output(notebook.execute(SHOW))
    notebook.reload()
    cancel(idle)
    waiting = notebook.begin("f.result()")
    notebook.wait_until_running(waiting)
    notebook.reload()
    cancel(other)
    notebook.wait_for_kernel()
    notebook.page.wait_for_timeout(3000)  # the models of cards that no page shows are closed by then
    expect(badge(idle)).to_have_text("cancelled: stopped")
    expect(badge(other)).to_have_text("cancelled: stopped")


def test_a_task_that_ends_while_no_page_is_open(
    notebook: LabNotebook, shared_server: LabServer, context: BrowserContext
) -> None:
    shown = notebook.execute("f = ex.submit(time.sleep, 1)\nf")
    expect(badge(notebook.output(shown))).to_have_text("running")
    notebook.page.evaluate("() => window.panel.context.save()")
    name = notebook.page.url.split("/")[-1].split("?")[0]
    notebook.page.goto("about:blank")
    notebook.page.wait_for_timeout(5000)
    notebook.page.goto(shared_server.url(name))
    notebook.wait_for_kernel()
    expect(badge(notebook.output(shown))).to_have_text("done")


@pytest.mark.matrix
def test_a_cell_that_is_run_again_and_several_views(
    notebook: LabNotebook, shared_server: LabServer, context: BrowserContext
) -> None:
    first = notebook.execute(SHOW)
    second = notebook.execute("f")
    expect(badge(notebook.output(first))).to_have_text("running")
    notebook.run(second)  # its new card takes the place of the old one
    expect(badge(notebook.output(second))).to_have_text("running")
    notebook.page.evaluate("() => window.panel.context.save()")
    name = notebook.page.url.split("/")[-1].split("?")[0]
    tab = LabNotebook.open(context, shared_server, name)
    expect(badge(tab.output(first))).to_have_text("running")
    cancel(tab.output(second))
    for page in (notebook, tab):
        for cell in (first, second):
            expect(badge(page.output(cell))).to_have_text("cancelled: stopped")
    tab.page.close()


@pytest.mark.matrix
def test_cleared_outputs_leave_nothing_behind(notebook: LabNotebook) -> None:
    before = notebook.text(notebook.execute(COMMS))
    shown = notebook.execute(SHOW)
    expect(badge(notebook.output(shown))).to_have_text("running")
    notebook.page.evaluate("cell => window.panel.content.widgets[cell].model.clearExecution()", shown)
    expect(badge(notebook.output(shown))).to_have_count(0)
    notebook.execute("f.cancel()")
    wait_for_text(notebook, COMMS, before)
    notebook.execute("from IPython.display import clear_output")
    notebook.execute("from scaler_notebook.notebook import display as d; d.LATE_PAGES = d.LATE_CLICKS")
    many = "for n in range(20):\n    f = ex.submit(time.sleep, 0.05)\n    display(f); f.result(); clear_output()\n"
    for _ in range(10):
        notebook.execute(many)
    wait_for_text(notebook, COMMS, before)
    left = (
        "from scaler_notebook.notebook import bridge, display as d, publisher as p; q = p.publisher; "
        "print(len(d._live), len(q._due), len(q._quiet_at), len(bridge.kernel_host().our_comms))"
    )
    wait_for_text(notebook, left, "0 0 0 0\n")


@pytest.mark.parametrize("how", [pytest.param("restarted", marks=pytest.mark.matrix), "killed"])
def test_a_kernel_that_ends(notebook: LabNotebook, how: str) -> None:
    card = notebook.output(notebook.execute(SHOW))
    expect(badge(card)).to_have_text("running")
    if how == "restarted":
        notebook.page.evaluate("() => { window.panel.sessionContext.session.kernel.restart(); }")
    else:
        notebook.begin("os._exit(1)")
    expect(card.locator(".scaler-note")).to_have_text(ENDED)
    expect(card.locator(".scaler-cancel")).to_be_hidden()
    expect(badge(card)).to_have_text("lost")
    notebook.wait_for_kernel()  # the next one
