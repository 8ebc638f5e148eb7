"""Buttons of live views in real JupyterLab: Retry, Copy, and a click that is lost on its way to the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab import LabNotebook
from playwright.sync_api import BrowserContext, expect

pytestmark = pytest.mark.browser

SETUP = """
import time
from pathlib import Path
from scaler_notebook import NotebookExecutor
ex = NotebookExecutor(n_workers=2, grace=0.3)
def flaky(mark):
    print("\\x1b[31mbegun\\x1b[0m", flush=True)
    if not Path(mark).exists():
        Path(mark).touch()
        raise ValueError("the first time")
    return "the second time"
"""
CELLS = [SETUP]
NO_ANSWER = "no answer yet: the kernel may be busy; you can click again"
# Clicks on Cancel are swallowed from here on; `restore` gives them back.
LOSE = """() => {
    const kernel = Object.getPrototypeOf(window.panel.sessionContext.session.kernel), send = kernel.sendShellMessage;
    window.lost = 0;
    kernel.sendShellMessage = function (message, ...more) {
        if (message.content.data?.content?.type !== "cancel") return send.call(this, message, ...more);
        window.lost++;
        return { msg: message, done: new Promise(() => {}) };
    };
    window.restore = () => (kernel.sendShellMessage = send);
}"""


def test_what_failed_is_copied_and_tried_again_by_keyboard(
    notebook: LabNotebook, context: BrowserContext, tmp_path: Path
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    card = notebook.output(notebook.execute(f"f = ex.submit(flaky, {str(tmp_path / 'mark')!r})\nf.widget()"))
    expect(card.locator(".scaler-badge")).to_have_text("failed")
    card.get_by_role("button", name="copy the output of flaky").press("Enter")
    expect(card.locator(".scaler-copy")).to_have_text("Copied")
    copied = notebook.page.evaluate("() => navigator.clipboard.readText()")
    assert copied.startswith("begun\n\nTraceback")
    assert copied.endswith("ValueError: the first time")
    card.locator(".scaler-id").press("Enter")
    expect(card.locator(".scaler-id")).to_have_text("Copied")
    identity = notebook.page.evaluate("() => navigator.clipboard.readText()")
    assert notebook.text(notebook.execute("print(f.task_id)")) == f"{identity}\n"
    card.get_by_role("button", name="Retry flaky").press("Enter")
    expect(card.locator(".scaler-badge")).to_have_text("done")
    expect(card.locator(".scaler-result")).to_have_text("'the second time'str of 15 characters · 30 bytes")
    expect(card.locator(".scaler-note")).to_contain_text("submitted again as task")
    expect(card.locator(".scaler-retry")).to_be_hidden()
    expect(card.locator(".scaler-error")).to_be_hidden()
    assert notebook.text(notebook.execute("print(f.failed)")) == "True\n"


def test_what_was_cancelled_is_tried_again_from_the_card_of_a_board(notebook: LabNotebook) -> None:
    board = notebook.output(notebook.execute("group = ex.map_async(time.sleep, [600, 601])\ngroup"))
    board.get_by_role("grid").get_by_title("sleep(600)").click()
    pane = board.locator(".scaler-pane")
    expect(pane.locator(".scaler-badge")).to_have_text("running")
    expect(pane.locator(".scaler-retry")).to_be_hidden()
    pane.get_by_role("button", name="Cancel").click()
    expect(pane.locator(".scaler-badge")).to_have_text("cancelled: stopped")
    pane.get_by_role("button", name="Retry").click()
    expect(board.locator(".scaler-said")).to_have_text("1 task submitted again")
    expect(pane.locator(".scaler-retry")).to_be_hidden()
    running = board.locator(".scaler-chip[data-kind=running]")
    expect(running).to_have_text("2 running")
    board.get_by_role("button", name="Cancel all").click()
    board.get_by_role("button", name="Undo").click()
    expect(running).to_have_text("2 running")
    expect(board.get_by_role("grid").get_by_text("try 3")).to_be_visible()
    expect(board.get_by_role("grid").get_by_text("try 2")).to_be_visible()


@pytest.mark.matrix
def test_a_click_that_is_lost_can_be_made_again(notebook: LabNotebook) -> None:
    card = notebook.output(notebook.execute("f = ex.submit(time.sleep, 600)\nf"))
    board = notebook.output(notebook.execute("group = ex.map_async(time.sleep, [600])\ngroup"))
    expect(card.locator(".scaler-badge")).to_have_text("running")
    expect(board.locator(".scaler-chip[data-kind=running]")).to_have_text("1 running")
    notebook.page.evaluate(LOSE)
    views = (card, ".scaler-note", "Cancel"), (board, ".scaler-said", "Cancel all")
    for view, _, _ in views:
        view.locator(".scaler-cancel").first.click()
        expect(view.locator(".scaler-cancel").first).to_be_disabled()
    for view, said, label in views:
        expect(view.locator(said)).to_have_text(NO_ANSWER)
        expect(view.locator(".scaler-cancel").first).to_be_enabled()
        expect(view.locator(".scaler-cancel").first).to_have_text(label)
    assert notebook.page.evaluate("() => window.lost") == 2
    notebook.page.evaluate("() => window.restore()")
    for view in (card, board):
        view.locator(".scaler-cancel").first.click()
    expect(card.locator(".scaler-badge")).to_have_text("cancelled: stopped")
    expect(board.locator(".scaler-chip[data-kind=cancelled]")).to_have_text("1 cancelled")
