"""The card in Notebook 7 and in Voilà."""

from __future__ import annotations

import pytest
from lab import LabNotebook
from lab_server import LabServer
from playwright.sync_api import BrowserContext, Locator, expect

pytestmark = pytest.mark.browser

SETUP = "import time\nfrom scaler_notebook import NotebookExecutor\nex = NotebookExecutor(n_workers=4)"
SHOW = "f = ex.submit(time.sleep, 600)\nf"


def cancel(card: Locator) -> None:
    expect(card.locator(".scaler-badge")).to_have_text("running")
    card.locator(".scaler-cancel").click()
    expect(card.locator(".scaler-badge")).to_have_text("cancelled: stopped")


@pytest.mark.matrix
def test_notebook_7(lab_server: LabServer, context: BrowserContext) -> None:
    lab_server.write_notebook("seven.ipynb", [SETUP])
    notebook = LabNotebook.open(context, lab_server, "seven.ipynb", "notebook")
    notebook.run(0)
    notebook.wait_until_run(0)
    cancel(notebook.output(notebook.execute(SHOW)))
    for busy in ("f.result()", "time.sleep(600)"):
        card = notebook.output(notebook.execute(SHOW))
        cell = notebook.begin(busy)
        notebook.wait_until_running(cell)
        cancel(card)
        if busy != "f.result()":
            assert notebook.is_running(cell)
            notebook.interrupt()
        notebook.wait_until_run(cell)
    card = notebook.output(notebook.execute(SHOW))
    notebook.reload()
    cancel(card)
    notebook.page.close()  # Notebook 7 throws errors of its own on any page
    lab_server.shut_down_kernels(notebook.name)


@pytest.mark.matrix
def test_voila(lab_server: LabServer, context: BrowserContext) -> None:
    """It executes the notebook, then shows it; its kernel has no subshells."""
    waits = "import ipywidgets\nwait = ipywidgets.Button(description='wait')\nwait.on_click(lambda _: f.result())\nwait"
    tells = (
        "import asyncio, gc\nfrom scaler_notebook.notebook.views.card import feed as cards\n"
        "label = ipywidgets.Label()\n"
        "def let_go(): return [f for f in gc.get_objects() if isinstance(f, cards.CardFeed) and f._shows is None]\n"
        "async def tell():\n"
        "    while len(let_go()) < 2: await asyncio.sleep(0.05)\n"
        "    label.value = 'both cards have let go of their futures'\n"
        "telling = asyncio.create_task(tell())\nlabel"
    )
    cells = [
        SETUP,
        SHOW,
        SHOW,
        SHOW.replace("f", "g"),
        "while g.state.value != 'running': time.sleep(0.01)\ng.cancel()",
        waits,
        tells,
    ]
    lab_server.write_notebook("page.ipynb", cells)
    page = context.new_page()
    page.goto(lab_server.notebook_url("page.ipynb", "voila"))
    outputs = page.locator(".jp-OutputArea")
    expect(page.locator(".scaler-badge")).to_have_count(3)
    cancel(outputs.filter(has=page.locator(".scaler-badge")).nth(0))
    page.get_by_role("button", name="wait").click()
    cancel(outputs.filter(has=page.locator(".scaler-badge")).nth(1))
    # Static HTML, which Voilà ignores, has taken the place of ended cards elsewhere.
    expect(page.get_by_text("both cards have let go")).to_be_visible()
    expect(page.locator(".scaler-badge")).to_have_text(["cancelled: stopped"] * 3)
    page.close()
