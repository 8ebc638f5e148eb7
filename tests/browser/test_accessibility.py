"""axe-core finds nothing to complain of in our views, in JupyterLab's light and dark themes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from lab import DARK, LIGHT, VIEWPORT, Lab, LabNotebook
from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.browser

SETUP = """
import time
from IPython.display import HTML
from scaler_notebook import NotebookExecutor, progress
ex = NotebookExecutor(n_workers=3, grace=0.3, gpus=["a", "b"])
CODES = [*range(31, 37), 90, 93, "38;5;16", "38;5;231"]
def work(n):
    if n == 3: raise ValueError("model 3 does not converge")
    print("\\n".join(f"\\x1b[{code}min {code}\\x1b[0m" for code in CODES), flush=True)
    if n < 3: return list(range(n))
    for i in progress(range(100), note="fitting"): time.sleep(600)
def refuses():
    while True:
        try: print("begun", flush=True); time.sleep(600)
        except KeyboardInterrupt: print("no", flush=True)
done, failed, running, stopped = (ex.submit(work, n) for n in (2, 3, 4, 5))
stubborn = ex.submit_verbose(refuses, gpus=1)
queued = ex.map_async(work, range(6, 8))
while "begun" not in stubborn.logs.stdout or f"in {CODES[-1]}" not in stopped.logs.stdout: time.sleep(0.02)
stubborn.cancel(force=False)
stopped.cancel()
"""
LIVE = "for future in (done, failed, running, stopped, stubborn, queued[1]): display(future.widget())"
STATIC = """
from scaler_notebook.notebook.views import rows
from scaler_notebook.notebook.views.static import static_html as rendering
from scaler_notebook.notebook.views.board import static_html as b
from scaler_notebook.notebook.views.board.table import TaskTable
for future in (done, failed, running, stopped, stubborn, queued[1]): display(HTML(rendering.html(rows.row(future))))
table = TaskTable(board)
display(HTML(b.html("9 tasks", table.counts(), table.rows(range(len(table))), remark="some remark")))
"""
# One of its tasks has submitted two others, which are rows below it.
BOARD = """
def work(n, work=work):
    if n == 4: NotebookExecutor().map_async(abs, [-1, -2])
    return work(n)
board = NotebookExecutor(n_workers=2).map_async(work, range(9))
board"""
# What axe-core is to look for, by theme: a theme changes colours, and nothing else that axe-core looks at.
RULES: dict[str, dict[str, Any]] = {LIGHT: {}, DARK: {"runOnly": ["color-contrast"]}}
CELLS = [SETUP, LIVE, BOARD, STATIC, "ex"]


@pytest.fixture(autouse=True)
def tall_page(lab: Lab) -> Iterator[None]:
    lab.page.set_viewport_size({"width": 1200, "height": 2000})
    yield
    lab.page.set_viewport_size(VIEWPORT)
    lab.use_theme(LIGHT)


def complaints(lab: Lab, selector: str) -> list[tuple[Any, ...]]:
    """What axe-core says, in either theme, of all elements that a selector finds, and of what they contain."""
    expect(lab.page.locator(selector)).not_to_have_count(0)
    # JupyterLab's body has no height, and hides what overflows it: axe-core would believe that nothing can be seen.
    lab.page.evaluate("() => (document.body.style.overflow = 'visible')")
    lab.page.locator(selector).first.scroll_into_view_if_needed()
    said: list[tuple[Any, ...]] = []
    for theme, rules in RULES.items():
        lab.use_theme(theme)
        options = {"resultTypes": ["violations"], **rules}
        found = Axe().run(lab.page, context={"include": [[selector]]}, options=options).response["violations"]
        said += [(theme, rule["id"], node["html"], node["failureSummary"]) for rule in found for node in rule["nodes"]]
    return said


def sticking_out(board: Locator) -> list[str]:
    """What is beyond the right edge of a board that is as narrow as on a telephone."""
    found: list[str] = board.evaluate(
        """board => {
            board.style.width = '300px';
            const edge = board.getBoundingClientRect().right;
            const beyond = [...board.querySelectorAll('button, input, .scaler-card')]
                .filter(node => node.getBoundingClientRect().right > edge).map(node => node.outerHTML);
            board.style.width = '';
            return beyond;
        }"""
    )
    return found


def test_views_in_both_themes(lab: Lab, notebook: LabNotebook) -> None:
    """One notebook shows them all: its tasks take longer to come so far than axe-core takes."""
    check_cards(lab, notebook)
    check_boards(lab, notebook)
    check_static_forms(lab, notebook)
    check_engine(lab, notebook)


@pytest.fixture
def narrow_page(lab: Lab, tall_page: None) -> Iterator[None]:
    """A page as narrow as a telephone."""
    lab.page.set_viewport_size({"width": 420, "height": 2000})
    lab.page.evaluate("window.jupyterapp.shell.collapseLeft()")
    yield
    lab.page.evaluate("window.jupyterapp.shell.expandLeft()")


@pytest.mark.matrix
@pytest.mark.usefixtures("narrow_page")
def test_views_in_both_themes_on_a_narrow_page(lab: Lab, notebook: LabNotebook) -> None:
    check_cards(lab, notebook)
    check_boards(lab, notebook)
    check_static_forms(lab, notebook)


@pytest.mark.matrix
@pytest.mark.usefixtures("narrow_page")
def test_an_executor_and_notices_in_both_themes_on_a_narrow_page(lab: Lab, notebook: LabNotebook) -> None:
    check_engine_view(lab, notebook)
    check_notices(lab, notebook)


def check_cards(lab: Lab, notebook: LabNotebook) -> None:
    notebook.run(1)
    cards = notebook.output(1)
    words = ["done", "failed", "running", "cancelled: stopped", "running on GPU a", "queued"]
    expect(cards.locator(".scaler-badge")).to_have_text(words)
    expect(cards.locator(".scaler-kill:visible")).to_have_count(1)
    expect(cards.locator("[data-kind=running] .scaler-progress:visible")).to_have_count(1)
    cards.locator(".scaler-where:visible").first.click()
    expect(cards.locator(".scaler-stack:visible")).to_have_count(1)
    cards.locator("summary:visible").evaluate_all("found => found.forEach(node => (node.parentElement.open = true))")
    assert complaints(lab, ".scaler-card") == []


def check_boards(lab: Lab, notebook: LabNotebook) -> None:
    notebook.run(2)
    board = notebook.output(2).locator(".scaler-board")
    expect(board.locator(".scaler-chip[data-kind=failed]")).to_have_text("1 failed")
    expect(board.locator(".scaler-nested:visible")).to_have_count(2)
    board.get_by_role("treegrid").get_by_title("work(3)").click()
    expect(board.locator(".scaler-pane .scaler-error")).to_contain_text("does not converge")
    assert complaints(lab, ".scaler-board") == []
    assert sticking_out(board) == []
    board.get_by_role("button", name="By function").click()
    expect(board.locator(".scaler-function-table tbody tr")).to_have_text(re.compile("^work9"))
    assert complaints(lab, ".scaler-functions") == []
    assert sticking_out(board) == []
    board.get_by_role("button", name="Time line").click()
    expect(board.locator(".scaler-canvas")).to_be_visible()
    assert complaints(lab, ".scaler-board") == []


def check_static_forms(lab: Lab, notebook: LabNotebook) -> None:
    notebook.run(3)
    notebook.wait_until_run(3)
    assert complaints(lab, ".scaler-card-static, .scaler-board-static") == []


def check_engine_view(lab: Lab, notebook: LabNotebook) -> None:
    notebook.run(4)
    view = notebook.output(4).locator(".scaler-engine")
    expect(view.locator(".scaler-badge")).to_have_text("running")
    expect(view.locator(".scaler-title")).to_contain_text("3 workers · 2 GPUs · 3 running · 1 queued")
    stubborn = view.get_by_role("row").filter(has_text="refuses()")
    expect(stubborn.locator("polyline")).to_have_count(2)
    expect(stubborn.get_by_role("cell").nth(1)).to_have_text("a")
    expect(view.locator(".scaler-group")).to_contain_text("1 running · 1 queued")
    view.get_by_role("button", name="Pause").click()
    expect(view.locator(".scaler-badge")).to_have_text("paused")
    assert complaints(lab, ".scaler-engine") == []
    assert sticking_out(view) == []


def check_engine(lab: Lab, notebook: LabNotebook) -> None:
    check_engine_view(lab, notebook)
    view = notebook.output(4).locator(".scaler-engine")
    first = lab.page.locator(".jp-InputPrompt").get_by_text("[1]:", exact=True)
    expect(first).not_to_be_in_viewport()
    view.get_by_role("button", name="In [1]").click()
    expect(first).to_be_in_viewport()
    view.get_by_role("button", name="Resume").click()
    expect(view.locator(".scaler-badge")).to_have_text("running")
    view.get_by_role("button", name="Stop").click()
    view.get_by_role("button", name="Really stop?").click()
    expect(view.locator(".scaler-badge")).to_have_text("shut down")
    expect(view.get_by_role("button", name="Stop")).to_be_hidden()


def check_notices(lab: Lab, notebook: LabNotebook) -> None:
    """The words that say how ends are told, and the chip that leads to what runs out of sight."""
    lab.page.evaluate(
        """() => {
            window.permitted = Object.getOwnPropertyDescriptor(Notification, 'permission');
            Object.defineProperty(Notification, 'permission', { value: 'default', configurable: true });
        }"""
    )
    shown = notebook.execute("%load_ext scaler_notebook\n%scaler config notify=60")
    expect(notebook.output(shown).locator(".scaler-allow")).to_be_visible()
    assert complaints(lab, ".scaler-notices") == []
    # It comes and goes with what is in sight; here it stays.
    lab.page.locator(".scaler-away").evaluate(
        "chip => { chip.hidden = false; Object.defineProperty(chip, 'hidden', { set() {} }); }"
    )
    expect(lab.page.locator(".scaler-away")).to_have_text(re.compile(r"^\d running$"))
    assert complaints(lab, ".scaler-away") == []
    lab.page.evaluate("() => Object.defineProperty(Notification, 'permission', window.permitted)")
