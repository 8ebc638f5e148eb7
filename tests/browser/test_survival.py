"""A card outlives what happens to its page, and says so when its kernel is gone."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from lab import LabNotebook
from lab_server import LabServer
from playwright.sync_api import BrowserContext, Locator, expect

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("new_kernel")]

SETUP = """
import asyncio, comm, gc, os, pathlib, time
from scaler_notebook import NotebookExecutor, current_task, wait
from scaler_notebook.notebook.kernel.host import kernel_host
from scaler_notebook.notebook.views import publisher as p
from scaler_notebook.notebook.views.card import display as d, feed as cards
comms, queue = comm.get_comm_manager().comms, p.publisher
async def until(condition):
    async def wait():
        while not condition(): await asyncio.sleep(0.05)
    await asyncio.wait_for(wait(), 20)
def retired():
    "Have all cards let go of their futures?"
    return all(feed._shows is None for feed in gc.get_objects() if isinstance(feed, cards.CardFeed))
ex = NotebookExecutor(n_workers=4)
def sleep():
    return ex.submit(time.sleep, 600)
def counts():
    current_task().report(0, 1000)
    time.sleep(1)
    current_task().report(340, 1000, "loss=0.3", rate=12.1, unit="batch")
    time.sleep(600)
"""
CELLS = [SETUP]
SHOW = "f = sleep()\nf"
SLOW = {"offline": False, "latency": 300, "downloadThroughput": 60_000, "uploadThroughput": 60_000}  # ms, bytes/s
# DevTools' limits leave web sockets alone: the kernel's is closed, and the next one takes turns with the line.
SLOW_SOCKETS = """async ([latency, throughput]) => {
    const { send } = WebSocket.prototype;
    const { set } = Object.getOwnPropertyDescriptor(WebSocket.prototype, "onmessage");
    const makeLine = () => {
        let free = 0;
        return (data, deliver) => {
            free = Math.max(free, performance.now()) + ((data.byteLength ?? data.length) / throughput) * 1000;
            setTimeout(deliver, free + latency - performance.now());
        };
    };
    const [up, down] = [makeLine(), makeLine()];
    WebSocket.prototype.send = function (data) { up(data, () => send.call(this, data)); };
    Object.defineProperty(WebSocket.prototype, "onmessage", {
        set(hear) { set.call(this, (event) => down(event.data, () => hear?.call(this, event))); },
    });
    await window.panel.sessionContext.session.kernel.reconnect();
}"""
UNHINDERED = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
ENDED = "the kernel has ended, and its tasks with it"


def badge(card: Locator) -> Locator:
    return card.locator(".scaler-badge")


def cancel(card: Locator) -> None:
    expect(badge(card)).to_have_text("running")
    card.locator(".scaler-cancel").click()
    expect(badge(card)).to_have_text("cancelled: stopped")


def wait_until(notebook: LabNotebook, condition: str) -> None:
    """Wait in the kernel, whose loop runs meanwhile."""
    assert notebook.text(notebook.execute(f"await until({condition})")) == "", f"{condition} did not come true"


def test_a_page_that_is_loaded_again(notebook: LabNotebook) -> None:
    """While the kernel is idle, and while a cell waits. The page's cards stay when their tasks end."""
    idle = notebook.output(notebook.execute(SHOW))
    other = notebook.output(notebook.execute(SHOW))
    notebook.reload()
    cancel(idle)
    waiting = notebook.begin("print(wait([f]).done)")  # an error would abort the cell that follows at once
    notebook.wait_until_running(waiting)
    notebook.reload()
    cancel(other)
    notebook.wait_for_kernel()
    wait_until(notebook, "retired")  # the models of cards that no page shows are closed by then
    expect(badge(idle)).to_have_text("cancelled: stopped")
    expect(badge(other)).to_have_text("cancelled: stopped")
    idle.get_by_role("button", name="Retry sleep").click()
    expect(badge(idle)).to_have_text("running")


def test_a_task_that_ends_while_no_page_is_open(
    notebook: LabNotebook, lab_server: LabServer, context: BrowserContext, tmp_path: Path
) -> None:
    shown = notebook.execute("f = ex.submit(time.sleep, 1)\nf")
    retired = tmp_path / "retired"
    notebook.execute(
        "async def tell():\n"
        "    await until(lambda: f.done() and retired())\n"
        f"    pathlib.Path({str(retired)!r}).touch()\n"
        "telling = asyncio.create_task(tell())"
    )
    expect(badge(notebook.output(shown))).to_have_text("running")
    notebook.save()
    notebook.page.goto("about:blank")
    deadline = time.monotonic() + 20
    while not retired.exists():
        assert time.monotonic() < deadline, "the card did not let go of its future"
        time.sleep(0.05)
    notebook.page.goto(lab_server.notebook_url(notebook.name))
    notebook.wait_for_kernel()
    expect(badge(notebook.output(shown))).to_have_text("done")


@pytest.mark.matrix
def test_a_cell_that_is_run_again_and_several_views(
    notebook: LabNotebook, lab_server: LabServer, context: BrowserContext
) -> None:
    first = notebook.execute(SHOW)
    second = notebook.execute("f")
    expect(badge(notebook.output(first))).to_have_text("running")
    notebook.run(second)  # its new card takes the place of the old one
    expect(badge(notebook.output(second))).to_have_text("running")
    notebook.save()
    tab = LabNotebook.open(context, lab_server, notebook.name)
    expect(badge(tab.output(first))).to_have_text("running")
    cancel(tab.output(second))
    for page in (notebook, tab):
        for cell in (first, second):
            expect(badge(page.output(cell))).to_have_text("cancelled: stopped")
    tab.page.close()


@pytest.mark.matrix
def test_two_tabs_on_one_notebook_show_the_same_while_a_cell_waits(
    notebook: LabNotebook, lab_server: LabServer, context: BrowserContext
) -> None:
    shown = [notebook.execute(f"f{n} = sleep()\nf{n}") for n in range(2)]
    for cell in shown:
        expect(badge(notebook.output(cell))).to_have_text("running")
    notebook.save()
    waiting = notebook.begin("print(len(wait([f0, f1]).done))")
    notebook.wait_until_running(waiting)
    tab = LabNotebook(context.new_page(), notebook.name)
    tab.page.goto(lab_server.notebook_url(notebook.name))
    tab.wait_for_kernel(("busy",))
    for page, cell in ((tab, shown[0]), (notebook, shown[1])):
        cancel(page.output(cell))
        for other in (notebook, tab):
            expect(badge(other.output(cell))).to_have_text("cancelled: stopped")
    notebook.wait_until_run(waiting)
    assert notebook.text(waiting) == "2\n"
    assert tab.problems == [], "the page threw errors"
    tab.page.close()


@pytest.mark.matrix
def test_cleared_outputs_leave_nothing_behind(notebook: LabNotebook) -> None:
    notebook.execute("before = len(comms)")
    shown = notebook.execute(SHOW)
    expect(badge(notebook.output(shown))).to_have_text("running")
    notebook.page.evaluate("cell => window.panel.content.widgets[cell].model.clearExecution()", shown)
    expect(badge(notebook.output(shown))).to_have_count(0)
    notebook.execute("f.cancel()")
    wait_until(notebook, "lambda: len(comms) == before")
    notebook.execute("from IPython.display import clear_output")
    notebook.execute("d.LATE_PAGES = d.LATE_CLICKS")
    many = "for n in range(20):\n    f = ex.submit(time.sleep, 0.05)\n    display(f); f.result(); clear_output()\n"
    for _ in range(10):
        notebook.execute(many)
    left = "len(comms) - before, d._live, queue._due, queue._quiet_at, kernel_host().our_comms"
    wait_until(notebook, f"lambda: not any([{left}])")


DONE_SO_FAR = "34 % · 340 of 1\u2009000 · 12.1 batch/s"


@pytest.mark.parametrize("how", [pytest.param("restarted", marks=pytest.mark.matrix), "killed"])
def test_a_kernel_that_ends(notebook: LabNotebook, how: str) -> None:
    shown = (
        notebook.execute("f = ex.submit(counts)\nf"),
        notebook.execute("group = ex.map_async(time.sleep, [600] * 6)\ngroup"),
    )
    card, board = map(notebook.output, shown)
    expect(badge(card)).to_have_text("running")
    expect(card.locator(".scaler-amount")).to_have_text(f"{DONE_SO_FAR} · about 55 s left · loss=0.3")
    board.get_by_role("grid").get_by_title("sleep(600)").first.click()
    opened = board.locator(".scaler-pane")
    expect(badge(opened)).to_have_text("running")
    for cell, text in zip(shown, ("running", "3 running"), strict=True):
        notebook.wait_until_saved(cell, text)
    if how == "restarted":
        notebook.page.evaluate("() => { window.panel.sessionContext.session.kernel.restart(); }")
    else:
        notebook.begin("os._exit(1)")
    expect(card.locator(".scaler-note")).to_have_text(ENDED)
    expect(card.locator(".scaler-cancel")).to_be_hidden()
    expect(badge(card)).to_have_text("lost")
    expect(card.locator(".scaler-amount")).to_have_text(f"{DONE_SO_FAR} · loss=0.3")
    expect(board.locator(".scaler-said")).to_have_text(ENDED)
    expect(board.locator(".scaler-chip:visible")).to_have_text(["6 lost"])
    expect(board.locator(".scaler-times")).not_to_contain_text("left")
    expect(board.get_by_role("button", name="Cancel")).to_have_count(0)
    expect(badge(opened)).to_have_text("lost")
    if how == "killed":
        notebook.page.locator(".jp-Dialog .jp-mod-accept").click()  # JupyterLab says so, too
    notebook.wait_for_kernel()  # the next one
    board.get_by_role("grid").get_by_title("sleep(600)").last.click()  # nobody is there to be told
    expect(badge(opened)).to_have_text("lost")
    notebook.reload()  # what is saved needs no kernel
    expect(card.locator(".scaler-card-static")).to_contain_text("running")
    expect(board.locator(".scaler-board-static")).to_contain_text("3 running · 3 queued")
    expect(notebook.page.get_by_text("model not found")).to_have_count(0)


@pytest.mark.matrix
def test_a_kernel_that_is_shut_down(notebook: LabNotebook) -> None:
    """What was unfinished is lost, and has not failed, whether the kernel comes to say so or the page alone knows."""
    card = notebook.output(notebook.execute("f = ex.submit(counts)\nf"))
    board = notebook.output(notebook.execute("group = ex.map_async(time.sleep, [600] * 6)\ngroup"))
    expect(card.locator(".scaler-amount")).to_contain_text("left")
    expect(board.locator(".scaler-chip:visible")).to_have_text(["3 running", "3 queued"])
    notebook.page.evaluate("() => window.panel.sessionContext.shutdown()")
    expect(badge(card)).to_have_text("lost")
    expect(card.locator(".scaler-cancel")).to_be_hidden()
    expect(card.locator(".scaler-amount")).to_have_text(f"{DONE_SO_FAR} · loss=0.3")
    expect(board.locator(".scaler-chip:visible")).to_have_text(["6 lost"])
    expect(board.locator(".scaler-said")).to_have_text(ENDED)
    expect(board.get_by_role("button", name="Cancel")).to_have_count(0)
    notebook.reload()  # and with it comes a kernel, for the next test


@pytest.mark.matrix
def test_a_saved_notebook_where_there_is_no_kernel(
    notebook: LabNotebook, lab_server: LabServer, context: BrowserContext, tmp_path: Path
) -> None:
    """Another server, which knows nothing of the widgets in the file, shows how everything has ended."""
    notebook.execute("def work(n):\n    if n == 3: raise ValueError('no data')\n    return n")
    shown = {
        notebook.execute("ex.submit(work, 3)"): "ValueError: no data",
        notebook.execute("f = ex.submit(work, 7)\nf"): "done",
        notebook.execute("stopped = sleep()\nstopped"): "running",
        notebook.execute("group = ex.map_async(work, range(6))\ngroup"): "5 done · 1 failed",
    }
    stopped = list(shown)[2]
    cancel(notebook.output(stopped))
    shown[stopped] = "cancelled: stopped"
    for cell, words in shown.items():
        notebook.wait_until_saved(cell, words)
    notebook.save()
    written = json.loads((lab_server.notebooks / notebook.name).read_text())
    written["metadata"] = {"kernelspec": {"name": "elsewhere", "display_name": "elsewhere", "language": "python"}}
    fresh = LabServer(tmp_path / "fresh")
    try:
        fresh.start()
        (fresh.notebooks / "saved.ipynb").write_text(json.dumps(written))
        page = context.new_page()
        page.goto(fresh.notebook_url("saved.ipynb"))
        page.locator(".jp-Dialog").get_by_role("button", name="No Kernel").click()
        cells = page.locator(".jp-Cell")
        for cell, words in shown.items():
            form = cells.nth(cell).locator(".scaler-card-static, .scaler-board-static")
            expect(form).to_be_visible()
            expect(form).to_contain_text(words)
        expect(cells.locator(".scaler-card, .scaler-board")).to_have_count(0)
        expect(page.get_by_text(re.compile("model not found|Error displaying widget"))).to_have_count(0)
        assert fresh.api("GET", "/api/kernels") == []
        page.close()
    finally:
        fresh.stop()


@pytest.mark.matrix
def test_a_slow_link(notebook: LabNotebook, context: BrowserContext) -> None:
    """Where an answer takes most of a second, a card becomes live, and its Cancel is answered."""
    devtools = context.new_cdp_session(notebook.page)
    devtools.send("Network.enable")
    devtools.send("Network.emulateNetworkConditions", SLOW)
    try:
        notebook.page.evaluate(SLOW_SOCKETS, [SLOW["latency"] / 2, SLOW["downloadThroughput"]])
        card = notebook.output(notebook.begin(SHOW))
        expect(badge(card)).to_have_text("running")
        expect(card.locator(".scaler-cancel")).to_be_enabled()
        notebook.record(".scaler-note")
        cancel(card)
        assert not [text for text, _ in notebook.seen() if "no answer" in text]
        expect(card.get_by_role("button", name="Retry sleep")).to_be_visible()
    finally:
        devtools.send("Network.emulateNetworkConditions", UNHINDERED)
        devtools.detach()
        notebook.reload()  # with sockets as they were
