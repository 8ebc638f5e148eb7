"""A board of 10,000 tasks in real JupyterLab: it appears, is looked through, and stops what it is told to."""

from __future__ import annotations

import re

import pytest
from lab import LabNotebook
from playwright.sync_api import Locator, expect

from scaler_notebook.quantities import amount

pytestmark = pytest.mark.browser

# Of all tasks 100 end at once, 2 of them with an error, 2 run, and the others wait.
CELLS = [
    "import time\n"
    "%load_ext scaler_notebook\n"
    "from scaler_notebook import NotebookExecutor\n"
    "ex = NotebookExecutor(n_workers=2, grace=0.3)\n"
    "def work(n):\n"
    "    if n in (7, 77): raise ValueError(f'model {n} does not converge')\n"
    "    if n < 100: return time.sleep(0.002) or n  # too long to be prefetched: they begin in their order\n"
    "    print('begun', n, flush=True)\n"
    "    time.sleep(600)\n"
    "def refuses(n):\n"
    "    while True:\n"
    "        try: print('begun', flush=True); time.sleep(600)\n"
    "        except KeyboardInterrupt: pass\n",
    "group = ex.map_async(work, range(tasks))\ngroup",
    "print(group.wait(), len(group.failed()))",
    "%scaler board",
    "few = ex.map_async(refuses, range(2))\nfew",
    "last = ex.submit(work, 5)",
    "def below(n, steps):\n"
    "    inner = [NotebookExecutor().submit(work, 200) for _ in range(steps)]\n"
    "    return inner[0].result()\n"
    "family = ex.map_async(below, range(2), [1, 9])\nfamily",
]


def show(notebook: LabNotebook, tasks: int) -> Locator:
    notebook.execute(f"tasks = {tasks}")
    notebook.run(1)
    notebook.wait_until_run(1, 60)
    shown = notebook.output(1).locator(".scaler-board")
    expect(chip(shown, "done")).to_have_text(re.compile("98 done"))
    expect(chip(shown, "running")).to_have_text(re.compile("2 running"))
    expect(shown.locator(".scaler-rows [aria-rowindex='5']")).to_contain_text("model 77")  # all are in place
    return shown


@pytest.fixture
def board(notebook: LabNotebook) -> Locator:
    """A board whose size does not matter."""
    return show(notebook, 1_000)


@pytest.fixture
def large_board(notebook: LabNotebook) -> Locator:
    return show(notebook, 10_000)


def chip(board: Locator, kind: str) -> Locator:
    return board.locator(f".scaler-chip[data-kind={kind}]")


def row(board: Locator, call: str) -> Locator:
    visible = board.locator(".scaler-rows .scaler-line:not([hidden])")
    return visible.filter(has=board.page.get_by_title(call, exact=True))


def timeline_label(tasks: int) -> str:
    return f"time line: {amount(tasks)} tasks on 2 processes, 2 at a time"


def shown_rows(board: Locator) -> list[str]:
    """The calls in the table, from the top."""
    found: list[str] = board.locator(".scaler-rows").evaluate(
        """rows => [...rows.children].filter(row => !row.hidden)
            .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
            .map(row => row.querySelector('.scaler-col-call').title)"""
    )
    return found


def scroll_to(grid: Locator, row: int) -> None:
    """Scroll to a row; the board knows at once, also if its output is written again before the browser's next frame."""
    grid.evaluate("(grid, row) => { grid.scrollTop = 26 * row; grid.dispatchEvent(new Event('scroll')); }", row)


def test_ten_thousand_rows_are_scrolled_through_and_few_of_them_are_in_the_document(large_board: Locator) -> None:
    board = large_board
    grid = board.get_by_role("grid")
    expect(grid).to_have_attribute("aria-rowcount", "10001")
    assert shown_rows(board)[2:4] == ["work(7)", "work(77)"]  # behind the two that run
    grid.focus()
    board.page.keyboard.press("End")
    expect(row(board, "work(99)")).to_be_in_viewport()
    expect(row(board, "work(99)")).to_have_attribute("aria-rowindex", "10001")
    expect(row(board, "work(99)")).to_have_attribute("aria-selected", "true")
    expect(grid).to_have_attribute("aria-activedescendant", row(board, "work(99)").get_attribute("id") or "")
    board.page.keyboard.press("PageUp")
    board.page.keyboard.press("ArrowUp")
    expect(board.locator(".scaler-current .scaler-col-call")).to_have_text(re.compile(r"^[89]\d$"))
    scroll_to(grid, 4902)
    expect(row(board, "work(5000)")).to_be_in_viewport()
    assert board.locator(".scaler-rows .scaler-line").count() < 40
    indices = board.locator(".scaler-rows .scaler-line:visible").evaluate_all(
        "rows => rows.map(row => Number(row.ariaRowIndex))"
    )
    assert indices == sorted(indices), "the document has the rows as they are seen"
    board.page.keyboard.press("Home")
    expect(row(board, "work(7)")).to_be_in_viewport()
    scroll_to(grid, 4902)
    board.locator(".scaler-search").fill("work(999")
    expect(board.locator(".scaler-said")).to_have_text(re.compile("^11 of 10\u2009?000 tasks shown"))
    board.locator(".scaler-search").fill("")
    heading = board.get_by_role("columnheader", name="work(…)")
    for order in ("ascending", "descending"):
        heading.get_by_role("button").click()
        expect(heading).to_have_attribute("aria-sort", order)
    expect(row(board, "work(9999)")).to_be_in_viewport()  # a sort begins at the top
    assert shown_rows(board)[:3] == ["work(9999)", "work(9998)", "work(9997)"]
    board.get_by_role("button", name="Time line").click()
    expect(board.locator(".scaler-canvas")).to_have_attribute("aria-label", timeline_label(10_000))
    assert board.page.evaluate("window.panel.content.activeCellIndex") in (1, 2), "a key went to the notebook"


def test_rows_are_filtered_and_sorted(board: Locator) -> None:
    board.locator(".scaler-search").fill("work(99")  # digits alone are found in the ids of processes, too
    expect(board.locator(".scaler-said")).to_have_text(re.compile("^11 of 1\u2009?000 tasks shown"))
    board.locator(".scaler-search").fill("")
    kind = board.locator(".scaler-error-kind")
    expect(kind).to_have_text("ValueError: model … does not converge × 2")
    kind.click()
    expect(board.get_by_role("button", name="Retry these 2")).to_be_visible()
    assert shown_rows(board) == ["work(7)", "work(77)"]
    kind.click()
    chip(board, "failed").click()
    expect(chip(board, "failed")).to_have_attribute("aria-pressed", "true")
    expect(row(board, "work(77)")).to_be_visible()
    assert shown_rows(board) == ["work(7)", "work(77)"]
    heading = board.get_by_role("columnheader", name="work(…)")
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "ascending")
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "descending")
    assert shown_rows(board) == ["work(77)", "work(7)"]
    chip(board, "failed").click()
    expect(row(board, "work(999)")).to_be_in_viewport()
    assert shown_rows(board)[:3] == ["work(999)", "work(998)", "work(997)"]
    board.get_by_role("columnheader", name="State").get_by_role("button").click()
    expect(row(board, "work(77)")).to_be_visible()
    assert shown_rows(board)[2:4] == ["work(7)", "work(77)"]


def test_one_is_cancelled_then_a_selection_then_all_while_a_cell_waits(
    notebook: LabNotebook, large_board: Locator
) -> None:
    board = large_board
    line = [board.locator(f".scaler-rows [aria-rowindex='{index}']") for index in range(10)]
    line[8].hover()
    line[8].get_by_role("button", name="Cancel").click()
    expect(chip(board, "cancelled")).to_have_text("1 cancelled")
    expect(board.locator(".scaler-said")).to_have_text("1 task asked to stop")
    line[2].click()
    line[6].click(modifiers=["Shift"])  # the two that run, two that have failed, and one that waits
    line[7].click(modifiers=["ControlOrMeta"])
    board.locator(".scaler-cancel-selected").click()
    expect(chip(board, "cancelled")).to_have_text("5 cancelled")
    chip(board, "cancelled").click()
    notes = board.locator(".scaler-rows .scaler-line:not([hidden]) .scaler-col-note")
    expect(notes.filter(has_text="stopped")).to_have_count(2)
    expect(notes.filter(has_text="never started")).to_have_count(3)
    board.get_by_role("button", name="Show all").click()
    notebook.run(2)
    notebook.wait_until_running(2)
    board.get_by_role("button", name="Cancel all").click()
    expect(chip(board, "cancelled")).to_have_text(re.compile("9\u2009?900 cancelled"))
    notebook.wait_until_run(2)
    assert notebook.text(2) == "True 2\n"
    expect(board.get_by_role("button", name="Cancel all")).to_be_disabled()
    expect(board.locator("> .scaler-spoken")).to_have_text("all tasks have ended: 98 done, 2 failed, 9900 cancelled")


def test_what_refuses_is_said_to_run_and_can_be_killed(notebook: LabNotebook) -> None:
    notebook.run(4)
    board = notebook.output(4).locator(".scaler-board")
    expect(chip(board, "running")).to_have_text(re.compile("2 running"))
    row(board, "refuses(0)").click()
    expect(board.locator(".scaler-pane .scaler-output")).to_contain_text("begun")
    row(board, "refuses(1)").click()
    expect(board.locator(".scaler-pane .scaler-output")).to_contain_text("begun")
    board.get_by_role("button", name="Cancel all").click()
    board.get_by_role("button", name="Kill 2").click()
    expect(chip(board, "cancelled")).to_have_text(re.compile("2 cancelled"))


def test_the_details_of_a_task_and_its_retry(notebook: LabNotebook, board: Locator) -> None:
    row(board, "work(7)").click()
    pane = board.locator(".scaler-pane")
    expect(pane.locator(".scaler-error")).to_contain_text("ValueError: model 7 does not converge")
    pane.get_by_text("messages").click()
    expect(pane.locator(".scaler-messages")).to_contain_text("TaskResult")
    board.get_by_role("grid").focus()
    board.page.keyboard.press("ArrowDown")
    board.page.keyboard.press("Enter")
    expect(pane.locator(".scaler-error")).to_contain_text("ValueError: model 77 does not converge")
    board.page.keyboard.press("Escape")
    expect(pane).to_be_hidden()
    expect(row(board, "work(7)").locator(".scaler-col-call")).to_have_text("7")
    expect(row(board, "work(7)").locator(".scaler-col-cpu")).to_have_text(re.compile("^\\d+ ms$"))
    board.get_by_role("button", name="Retry 2 failed").click()
    expect(board.locator(".scaler-said")).to_have_text("2 tasks submitted again")
    expect(row(board, "work(7)")).to_contain_text("try 2")
    expect(board.get_by_role("grid")).to_have_attribute("aria-rowcount", "1001")


def test_the_time_line_shows_who_ran_and_opens_what_is_clicked(board: Locator) -> None:
    board.get_by_role("button", name="Time line").click()
    canvas = board.locator(".scaler-canvas")
    expect(canvas).to_have_attribute("aria-label", timeline_label(1_000))
    box = canvas.bounding_box()
    assert box is not None
    canvas.hover(position={"x": box["width"] - 12, "y": 8})  # what runs now
    expect(board.locator(".scaler-tip")).to_contain_text(re.compile(r"work\(1\d\d\).*running"))
    canvas.click(position={"x": box["width"] - 12, "y": 8})
    expect(board.locator(".scaler-pane .scaler-call")).to_have_text(re.compile(r"work\(1\d\d\)"))


@pytest.mark.matrix
@pytest.mark.parametrize("tasks", [1_000, 10_000])
def test_a_page_that_is_loaded_again_shows_the_board_as_it_is(notebook: LabNotebook, tasks: int) -> None:
    show(notebook, tasks)
    notebook.reload()
    notebook.wait_for_kernel()
    again = notebook.output(1).locator(".scaler-board")
    expect(chip(again, "running")).to_have_text(re.compile("2 running"))
    expect(again.get_by_role("grid")).to_have_attribute("aria-rowcount", str(tasks + 1))
    again.get_by_role("button", name="Cancel all").click()
    expect(chip(again, "cancelled")).to_have_text(re.compile("900 cancelled"))


def test_the_saved_notebook_says_how_it_ended_and_the_view_stays_as_it_was(
    notebook: LabNotebook, board: Locator
) -> None:
    chip(board, "failed").click()
    row(board, "work(77)").click()
    board.get_by_role("button", name="Cancel all").click()
    expect(board.locator("> .scaler-spoken")).to_have_text(re.compile("all tasks have ended"))
    notebook.wait_until_saved(1, "900 cancelled")
    saved = notebook.saved(1)
    assert "scaler-board-static" in saved
    assert "widget-view" not in saved, "who opens it without its kernel would see no board"
    assert "model 77 does not converge" in saved
    expect(chip(board, "failed")).to_have_attribute("aria-pressed", "true")
    expect(board.locator(".scaler-opened .scaler-col-call")).to_have_attribute("title", "work(77)")
    expect(board.locator(".scaler-pane .scaler-call")).to_have_text("work(77)")


def test_a_group_that_has_ended_at_once_is_shown_live(notebook: LabNotebook) -> None:
    cell = notebook.execute("quick = ex.map_async(work, range(3))\ndisplay(quick)\nprint(quick.wait())")
    again = notebook.execute("quick")
    for shown in (cell, again):
        board = notebook.output(shown).locator(".scaler-board")
        expect(chip(board, "done")).to_have_text("3 done")
        row(board, "work(1)").click()
        expect(board.locator(".scaler-pane .scaler-result")).to_have_text("1int · 5 bytes")


@pytest.mark.usefixtures("new_kernel")
def test_the_board_of_the_session_grows(notebook: LabNotebook) -> None:
    notebook.run(3)
    board = notebook.output(3).locator(".scaler-board")
    expect(board).to_contain_text("no tasks")
    notebook.run(5)
    expect(row(board, "work(5)")).to_contain_text("done")
    expect(board.locator(".scaler-title")).to_have_text("all tasks of this session")


@pytest.mark.matrix
def test_what_tasks_have_submitted_is_below_them_without_buttons_of_its_own(notebook: LabNotebook) -> None:
    notebook.run(6)
    board = notebook.output(6).locator(".scaler-board")
    nested = board.locator(".scaler-nested:visible")
    expect(nested).to_have_count(1)
    expect(nested).to_contain_text("work(200)")
    expect(nested).to_have_attribute("aria-level", "2")
    expect(nested).to_have_attribute("data-kind", re.compile("running|queued"))  # those of the other may be before it
    expect(nested.locator(".scaler-col-call")).to_have_attribute("title", re.compile("A task has submitted it"))
    nested.hover()
    expect(nested.get_by_role("button")).to_have_count(0)
    expect(chip(board, "running")).to_have_text("2 running")
    fold = board.get_by_role("button", name="show 9 that it has submitted")
    fold.click()
    expect(nested).to_have_count(10)
    board.get_by_role("button", name="fold 9 that it has submitted").click()
    expect(nested).to_have_count(1)
    nested.click()
    expect(board.locator(".scaler-pane .scaler-nested-task:visible")).to_have_count(1)
    board.get_by_role("button", name="Cancel all").click()
    expect(nested).to_have_attribute("data-kind", "cancelled")


@pytest.mark.matrix
def test_the_card_of_an_open_row_has_all_lines_and_says_what_its_result_is(notebook: LabNotebook) -> None:
    chatty = "def chatty(n):\n    for i in range(n): print('line', i)\n    return [n]"
    board = notebook.output(notebook.execute(f"{chatty}\nex.map_async(chatty, [1, 5_000])")).locator(".scaler-board")
    row(board, "chatty(5000)").click()
    pane = board.locator(".scaler-pane")
    expect(pane.locator(".scaler-about")).to_have_text(re.compile(r"^list of 1 item · \d+ bytes$"))
    earlier = pane.locator(".scaler-earlier summary")
    expect(earlier).to_have_text(re.compile("and more are kept"))
    pane.get_by_role("button", name="All lines").click()
    expect(earlier).to_have_text("4\u2009997 earlier lines")
