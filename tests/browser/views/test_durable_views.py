"""A view lasts: its task ends, its output is written again, and it is the same view."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lab import LabNotebook
from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.browser

SETUP = """
import os, time
from scaler_notebook import NotebookExecutor
from scaler_notebook.notebook.views.board import display as boards
from scaler_notebook.notebook.views.card import display as cards
ex = NotebookExecutor(n_workers=2, grace=0.3)
def talk(gate):
    for n in range(9): print("line", n, flush=True)
    while not os.path.exists(gate): time.sleep(0.01)
    raise ValueError("no convergence")
def waits(gate):
    while not os.path.exists(gate): time.sleep(0.01)
"""
CELLS = [SETUP]


def badge(card: Locator) -> Locator:
    return card.locator(".scaler-badge")


def test_a_card_keeps_its_buttons_its_folds_and_the_focus_when_its_task_ends(
    notebook: LabNotebook, tmp_path: Path
) -> None:
    gate = tmp_path / "open"
    cell = notebook.execute(f"f = ex.submit(talk, {str(gate)!r})\nf")
    card = notebook.output(cell)
    expect(badge(card)).to_have_text("running")
    card.locator(".scaler-earlier summary").click()  # no key: JupyterLab may just then focus the next cell
    earlier = card.locator(".scaler-earlier pre")
    expect(earlier).to_contain_text("line 0")
    width = card.locator(".scaler-card").evaluate("card => card.getBoundingClientRect().width")
    gate.touch()
    expect(badge(card)).to_have_text("failed")
    notebook.wait_until_saved(cell, "no convergence")
    expect(earlier).to_be_visible()
    expect(card.locator(".scaler-earlier summary")).to_be_focused()
    assert card.locator(".scaler-card").evaluate("card => card.getBoundingClientRect().width") == width
    expect(card.get_by_role("button", name="copy the output of talk")).to_be_visible()
    expect(card.get_by_role("button", name="Retry talk")).to_be_visible()
    assert "widget-view" not in notebook.saved(cell)
    notebook.page.keyboard.press("x")  # of a card, and not of the notebook, which would cut the cell
    card.get_by_role("button", name="Retry talk").click()
    expect(card.locator(".scaler-note")).to_contain_text("submitted again as task")
    expect(badge(card)).to_have_text("failed")
    place = card.locator(".scaler-origin").get_by_role("button", name=re.compile(r"^In\[\d+\], line 9$"))
    place.evaluate("link => link.click()")  # no pointer: it would scroll the card into view
    expect(notebook.page.locator(".jp-Cell .cm-line", has_text="no convergence")).to_be_in_viewport()


PRESS_END_AS_THE_OUTPUT_IS_WRITTEN = """async grid => {
    grid.dispatchEvent(new KeyboardEvent('keydown', {key: 'End', bubbles: true}));
    const place = grid.closest('.scaler-place');
    place.replaceWith(place.cloneNode(false));
    await new Promise(requestAnimationFrame);
    return grid.isConnected && grid.scrollTop + grid.clientHeight === grid.scrollHeight;
}"""


def test_an_output_that_is_written_again_leaves_its_live_view_as_it_is(notebook: LabNotebook, tmp_path: Path) -> None:
    notebook.execute("boards.LIVE_INTERVAL = 0.1")
    opened = [tmp_path / "open", tmp_path / "later"]
    cell = notebook.execute(f"group = ex.map_async(waits, {[*map(str, opened)]} + ['/never'] * 38)\ngroup")
    board = notebook.output(cell)
    grid = board.get_by_role("grid")
    expect(board.locator(".scaler-chip[data-kind=running]")).to_have_text("2 running")
    grid.focus()
    grid.evaluate("grid => { grid.scrollTop = 26 * 20; grid.dispatchEvent(new Event('scroll')); }")
    board.locator(".scaler-board").evaluate("board => (window.first = board)")
    opened[0].touch()
    notebook.wait_until_saved(cell, "1 done")
    assert board.locator(".scaler-board").evaluate("board => board === window.first"), "it was drawn again"
    expect(grid).to_be_focused()
    assert grid.evaluate("grid => grid.scrollTop") == 26 * 20
    assert grid.evaluate(PRESS_END_AS_THE_OUTPUT_IS_WRITTEN), "it has scrolled to its end, and stays there"
    board.get_by_role("button", name="Cancel all").hover()
    board.page.mouse.down()
    opened[1].touch()
    notebook.wait_until_saved(cell, "2 done")
    board.page.mouse.up()
    expect(board.locator(".scaler-said")).to_have_text("38 tasks asked to stop")


def test_the_newest_cards_keep_their_buttons_and_older_ones_are_as_in_the_file(notebook: LabNotebook) -> None:
    notebook.execute("cards.MAX_KEPT = 1\ndef fails(n): 1 / 0")
    shown = [notebook.output(notebook.execute(f"f{n} = ex.submit(fails, {n})\nf{n}")) for n in range(2)]
    expect(shown[1].get_by_role("button", name="Retry fails")).to_be_visible()
    expect(shown[0].locator(".scaler-card-static")).to_contain_text("ZeroDivisionError")
    expect(shown[0].get_by_role("button", name="Retry fails")).to_have_count(0)
