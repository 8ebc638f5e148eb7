"""What a message of the kernel, or none, does in a view, in Chromium; without a notebook around it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from lone_views import BOARD, CARD, ENGINE, NOTICES, card, engine, requests, rows, show, tell
from playwright.sync_api import BrowserContext, Page, expect

pytestmark = pytest.mark.browser

NONE_EARLIER = {"running": 0, "refused": False}
FAILED = {"state": "finished", "outcome": "failed", "word": "failed", "error": "ValueError: bad"}
RUNNING = {"state": "running", "outcome": None, "word": "running", "ended_at": None}


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    opened = context.new_page()
    yield opened
    opened.close()


def test_a_bell_rings_in_a_page_that_paints_nothing(page: Page) -> None:
    show(page, BOARD)
    tell(page, rows(1, "11"))
    page.get_by_role("button", name="Notify me").click()
    page.evaluate("() => { document.hasFocus = () => false; window.requestAnimationFrame = () => 1; }")
    page.evaluate("message => window.tell(message)", rows(2, "33"))
    expect(page).to_have_title("✓ 2 done")
    expect(page.locator(".scaler-chip[data-kind=done]")).to_be_hidden()


def test_what_a_task_has_displayed_is_not_drawn_again_when_it_writes(page: Page) -> None:
    show(page, CARD)
    table = "<div><table>" + "<tr><td>cell</td></tr>" * 100 + "</table></div>"
    tell(page, card(1, NONE_EARLIER, **RUNNING, rich=f"{table}\n<pre>one\n</pre>"))
    rich = page.locator(".scaler-rich")
    rich.evaluate("rich => (rich.scrollTop = 300)")
    page.evaluate("window.cell = document.querySelector('td')")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('.scaler-rich pre'))")
    last = "<pre>one\ntwo\n</pre>\n<div>more<script>window.ran = true</script></div>"
    tell(page, card(2, NONE_EARLIER, **RUNNING, rich=f"{table}\n{last}"))
    assert page.evaluate("window.cell.isConnected")
    assert rich.evaluate("rich => rich.scrollTop") == 300
    assert page.evaluate("getSelection().toString()").startswith("one\n")
    expect(rich.locator("pre")).to_have_text("one\ntwo\n")
    expect(rich).to_contain_text("more")
    assert page.evaluate("window.ran") is None
    tell(page, card(3, NONE_EARLIER, **RUNNING, rich="<p>other</p>"))
    expect(rich).to_have_text("other")


def opened(message: dict[str, Any], **row: Any) -> dict[str, Any]:
    """A message of a board with the details of its first row."""
    return {**message, "details": [{"number": 0, "row": card(0, NONE_EARLIER, **row)["row"], "trace": ""}]}


def test_a_retry_in_a_boards_pane_is_answered_by_the_board(page: Page) -> None:
    show(page, BOARD)
    tell(page, opened(rows(1, "4"), **FAILED))
    page.locator("[aria-rowindex='2']").click()
    pane = page.locator(".scaler-pane")
    pane.locator(".scaler-retry").click()
    expect(pane.locator(".scaler-retry")).to_have_text("asking…")
    answer = {"number": 1, "text": "1 task submitted again"}
    tell(page, opened({**rows(2, "1"), "answer": answer}, **RUNNING, task_id="a1-2"))
    assert pane.locator(".scaler-cancel").is_enabled(), "at once, and not when nobody has answered for long"
    expect(pane.locator(".scaler-cancel")).to_have_text("Cancel")


def test_an_old_note_is_no_answer_to_a_later_click(page: Page) -> None:
    show(page, CARD)
    noted = {"note": "submitted again as task a1-1"}
    tell(page, card(1, NONE_EARLIER, **RUNNING) | noted)
    page.locator(".scaler-cancel").click()
    tell(page, card(2, NONE_EARLIER, **RUNNING, output="a line") | noted)
    expect(page.locator(".scaler-output")).to_contain_text("a line")
    expect(page.locator(".scaler-cancel")).to_have_text("asking…")
    tell(page, card(3, NONE_EARLIER, **RUNNING) | {"note": "another"})
    expect(page.locator(".scaler-cancel")).to_be_enabled()


def test_the_chip_leads_to_a_view_that_is_in_the_page(page: Page) -> None:
    show(page, NOTICES)
    chip = page.locator(".scaler-away")
    message = {"type": "notices", "now": 3, "after": 60, "sound": False, "running": 2, "ended": []}
    tell(page, {**message, "seq": 1, "places": ["gone"]})
    expect(chip).to_be_hidden()
    page.evaluate(
        """() => document.body.insertAdjacentHTML("beforeend",
            '<p style="height: 5000px"></p><div class="scaler-place scaler-place-there">a view</div>')"""
    )
    tell(page, {**message, "seq": 2, "places": ["gone", "there"]})
    chip.click()
    expect(page.get_by_text("a view")).to_be_in_viewport()


MOVE_AND_FOCUS = """async () => {
    const board = document.querySelector(".scaler-board"), around = board.parentElement;
    board.remove();
    await null;
    around.append(board);
    board.focus();
}"""


def test_the_focus_stays_in_the_view_when_its_button_can_be_used_no_more(page: Page) -> None:
    show(page, BOARD)
    tell(page, rows(1, "11"))
    page.locator(".scaler-title").click()
    assert page.evaluate("document.activeElement === document.body"), "a click beside the buttons is the notebook's"
    page.get_by_role("button", name="Cancel all").press("Enter")
    expect(page.get_by_role("button", name="Cancel all")).to_be_disabled()
    expect(page.locator(".scaler-board")).to_be_focused()
    tell(page, {**rows(2, "55"), "answer": {"number": 1, "text": "2 tasks asked to stop"}})
    page.get_by_role("button", name="Undo").press("Enter")
    expect(page.get_by_role("button", name="Undo")).to_be_hidden()
    expect(page.locator(".scaler-board")).to_be_focused()
    page.evaluate(MOVE_AND_FOCUS)  # as where the output around it is written again
    expect(page.locator(".scaler-board")).to_be_focused()


def test_the_focus_stays_in_the_view_of_an_executor(page: Page) -> None:
    show(page, ENGINE)
    tell(page, engine(1, {"running": 2}))
    page.get_by_role("button", name="Pause").press("Enter")
    expect(page.locator(".scaler-engine")).to_be_focused()


def test_the_place_of_an_error_is_a_link_in_a_cell_that_is_out_of_sight(page: Page) -> None:
    show(page, CARD)
    page.evaluate(
        """() => {
            const [notebook, cell] = ["jp-Notebook", "jp-Cell"].map((name) => document.createElement("div"));
            [notebook.className, cell.className] = ["jp-Notebook", "jp-Cell"];
            document.body.append(notebook);
            cell.append(document.querySelector(".scaler-card"));
            window.back = () => notebook.append(cell);
        }"""
    )
    tell(page, card(1, NONE_EARLIER, **FAILED, origin="In[7], line 2"))
    page.evaluate("back")
    expect(page.get_by_role("button", name="In[7], line 2")).to_be_visible()


def test_the_buttons_of_a_row_are_reached_by_keyboard(page: Page) -> None:
    show(page, BOARD)
    tell(page, rows(1, "11"))
    grid, press = page.get_by_role("grid"), page.keyboard.press
    grid.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        press(key)
    cancel = page.locator("[aria-rowindex='3']").get_by_role("button", name="Cancel")
    expect(cancel).to_be_focused()
    press("ArrowLeft")
    expect(grid).to_be_focused()
    for _ in range(9):  # past the headings, of which each is a button
        press("Tab")
    expect(cancel).to_be_focused()
    tell(page, rows(2, "41"))  # in which the other row would stand behind this one
    expect(cancel).to_be_focused()
    press("Enter")
    assert requests(page) == [{"type": "cancel", "rows": [1], "force": False}]
    tell(page, rows(3, "42"))
    expect(grid).to_be_focused()
