"""Many cards are opened and closed in a real JupyterLab, and leave no more behind than the smallest widget does."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from lab import LabNotebook
from playwright.sync_api import BrowserContext, CDPSession, expect

from scaler_notebook.notebook.views.card import feed

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("new_kernel")]

ROUNDS = 3  # of a cell that opens views, and one that closes them
TRIES = 3  # of as many rounds

SETUP = """
import asyncio, contextlib, gc, time, anywidget
from comm import get_comm_manager
from scaler_notebook import NotebookExecutor
from scaler_notebook.notebook.kernel.host import kernel_host
from scaler_notebook.notebook.views import feed, publisher as p
from scaler_notebook.notebook.views.card import display as d
d.MAX_KEPT = 0  # cards of ended tasks whose model stays open
host = kernel_host()
ex = NotebookExecutor(n_workers=2, grace=0.3)
class Plain(anywidget.AnyWidget):
    _esm = "export default { render({ el }) { el.innerHTML = '<b class=plain>plain</b>'; } }"
comms = get_comm_manager().comms
before = set(comms)
async def until(condition):
    async def wait():
        while not condition(): await asyncio.sleep(0.01)
    await asyncio.wait_for(wait(), 20)
async def closed():
    await until(lambda: not set(comms) - before)
def left():  # of ours in the kernel: comms, cards, feeds, what the publisher holds
    gc.collect()
    ours = sum(isinstance(found, (feed.Feed, feed.ViewWidget, d.Card)) for found in gc.get_objects())
    queue = p.publisher
    return [len(set(comms) - before), ours, len(d._live), len(queue._due), len(queue._quiet_at), len(host.our_comms)]
"""


@dataclass
class Kind:
    """Widgets that one cell opens and the next one closes; ``selector`` finds the views of those that are open."""

    open: str
    close: str
    selector: str


OURS = Kind(
    "futures = [ex.submit(time.sleep, 600) for _ in range(at_once)]\nfor future in futures: display(future)",
    "for future in futures: future.request_cancel()\nfor future in futures: future.cancel()\nawait closed()",
    ".scaler-card[data-state]",
)
PLAIN = Kind(
    "plain = [Plain() for _ in range(at_once)]\nfor widget in plain: display(widget)",
    "for widget in plain: widget.layout.close(); widget.close()\nawait closed()",
    "b.plain",
)
LEFT = """
del future, futures
with contextlib.suppress(asyncio.TimeoutError): await until(lambda: not any(left()))
print(left())
"""


class Page:
    """Counts what a page holds."""

    def __init__(self, notebook: LabNotebook, session: CDPSession, at_once: int) -> None:
        self._notebook = notebook
        self._at_once = at_once
        self._session = session
        session.send("HeapProfiler.enable")
        session.send("Performance.enable")

    def held(self) -> dict[str, float]:
        """Bytes of JavaScript's heap, listeners and nodes, after garbage collection."""
        for _ in range(3):  # what one frees in the document lets the next free what that held
            self._session.send("HeapProfiler.collectGarbage")
        found = {metric["name"]: metric["value"] for metric in self._session.send("Performance.getMetrics")["metrics"]}
        return {name: found[name] for name in ("JSHeapUsedSize", "JSEventListeners", "Nodes")}

    def open_and_close(self, kind: Kind, cells: list[int]) -> None:
        """As many views as are to be there at once, in each round."""
        page = self._notebook.page
        for _ in range(ROUNDS):
            self._notebook.run(cells[0])
            page.wait_for_function(
                "([selector, count]) => document.querySelectorAll(selector).length === count",
                arg=[kind.selector, self._at_once],
            )
            self._notebook.wait_until_run(cells[0])
            self._notebook.run(cells[1])
            self._notebook.wait_until_run(cells[1])
            page.evaluate(
                "cells => cells.forEach(cell => window.panel.content.widgets[cell].model.clearExecution())", cells
            )
            expect(page.locator(kind.selector)).to_have_count(0)

    def growth(self, kind: Kind, cells: list[int]) -> dict[str, float]:
        """By how much each view lets the page grow after as many before it."""
        self.open_and_close(kind, cells)
        before = self.held()
        self.open_and_close(kind, cells)
        return {name: (held - before[name]) / (ROUNDS * self._at_once) for name, held in self.held().items()}


CELLS = [SETUP, OURS.open, OURS.close, PLAIN.open, PLAIN.close]


# Few tell of a card that stays, many of one listener of each. JupyterLab shows no more than 50 outputs of a cell.
@pytest.mark.matrix
@pytest.mark.parametrize("at_once", [10, pytest.param(40, marks=pytest.mark.timeout(600))])
def test_cards_leave_nothing_behind(notebook: LabNotebook, context: BrowserContext, at_once: int) -> None:
    notebook.execute(f"at_once = {at_once}")
    page = Page(notebook, context.new_cdp_session(notebook.page), at_once)
    chance = 90 / (ROUNDS * at_once)  # what of the page's own is collected now or later
    for _ in range(TRIES):  # what a view leaves is there each time, and what is only collected late is not
        # JupyterLab 4.6 itself never lets go of a model, nor of its cells' listeners: the same for every widget.
        plain, ours = page.growth(PLAIN, [3, 4]), page.growth(OURS, [1, 2])
        assert notebook.text(notebook.execute(LEFT)) == "[0, 0, 0, 0, 0, 0]\n"
        most = {name: held + chance for name, held in plain.items()}
        most["JSHeapUsedSize"] = plain["JSHeapUsedSize"] + len(feed.SCRIPT) / 2
        if all(ours[name] <= most[name] for name in most):
            return
    pytest.fail(f"each view leaves {ours}, and the smallest widget {plain}")
