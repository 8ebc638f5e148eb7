"""What a person is about in a view goes on when the page writes an output again, or news comes; without a notebook."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lone_views import BOARD, CARD, ENGINE, IMPORT, PAINTED, VIEWS, card, engine, requests, rows, show, tell
from playwright.sync_api import BrowserContext, Page, expect

from scaler_notebook.notebook.views.modules import joined

pytestmark = pytest.mark.browser

# A live view over a static form, in an output that `write` writes again as JupyterLab does.
COVER = f"""async (source) => {{
    {IMPORT}
    const {{ coverPlaces }} = await load(source, "");
    const output = document.body.appendChild(document.createElement("div"));
    window.write = () => (output.innerHTML = '<div class="scaler-place scaler-place-here"></div>');
    window.seen = [];
    write();
    const statusChanged = {{ connect: (slot) => (window.change = slot), disconnect: () => {{}} }};
    const model = {{ get: () => "here", widget_manager: {{ kernel: {{ statusChanged }} }} }};
    window.end = coverPlaces(model, (el, shown) => {{
        el.innerHTML = `<button><i>icon</i> <b>Cancel</b></button><details><summary>more</summary></details>
            <pre>first line\\nsecond line</pre><canvas width="200" height="50" style="background: grey"></canvas>`;
        el.addEventListener("click", ({{ target }}) => seen.push(target.closest("button, summary")?.localName));
        const canvas = el.querySelector("canvas");
        canvas.onpointerdown = ({{ pointerId }}) => canvas.setPointerCapture(pointerId);
        canvas.onpointerup = ({{ clientX }}) => seen.push(clientX);
        shown();
        return () => {{}};
    }});
}}"""
LATER = "later => { const now = performance.now.bind(performance); performance.now = () => now() + later; }"


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    opened = context.new_page()
    yield opened
    opened.close()


@pytest.fixture
def covered(page: Page) -> Page:
    page.evaluate(COVER, joined(VIEWS / "page" / "cover.js"))
    return page


def write_again(page: Page) -> None:
    page.evaluate("write")


def middle(page: Page, selector: str) -> tuple[float, float]:
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def press(page: Page, selector: str, meanwhile: Callable[[], None], **options: Any) -> None:
    page.mouse.move(*middle(page, selector))
    page.mouse.down(**options)
    meanwhile()
    page.mouse.up(**options)


def test_what_is_pressed_is_clicked_once_when_it_is_let_go(covered: Page) -> None:
    press(covered, "button", lambda: write_again(covered))
    press(covered, "button", lambda: write_again(covered), button="right")
    for key in (" ", "Enter"):
        covered.focus("button")
        covered.keyboard.down(key)
        write_again(covered)
        covered.keyboard.up(key)
    assert covered.evaluate("seen") == ["button"] * 3
    covered.focus("summary")
    covered.keyboard.down(" ")
    write_again(covered)
    covered.keyboard.up(" ")
    expect(covered.locator("details")).to_have_attribute("open", "")
    expect(covered.locator("summary")).to_be_focused()


def test_another_part_of_the_same_button_is_the_button_and_another_button_is_not(covered: Page) -> None:
    press(covered, "i", lambda: (write_again(covered), covered.mouse.move(*middle(covered, "b")))[0])
    assert covered.evaluate("seen") == ["button"]
    press(covered, "button", lambda: (write_again(covered), covered.mouse.move(*middle(covered, "summary")))[0])
    assert "summary" not in covered.evaluate("seen")


def test_what_is_touched_is_clicked_once(covered: Page) -> None:
    x, y = middle(covered, "button")
    fingers = covered.context.new_cdp_session(covered)
    fingers.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    write_again(covered)
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    covered.wait_for_function("seen.length")
    covered.mouse.click(*middle(covered, "summary"))  # behind whatever else the touch may have become
    covered.wait_for_function("seen.includes('summary')")
    assert covered.evaluate("seen") == ["button", "summary"]


def test_what_is_left_of_a_kernel_that_has_ended_stays_as_long_as_its_output(covered: Page) -> None:
    covered.evaluate("() => { change(null, 'dead'); end(); write(); }")
    expect(covered.locator("button")).to_be_visible()
    known = "globalThis[Symbol.for('scaler_notebook.places')].size"
    assert covered.evaluate(known) == 1
    covered.evaluate("() => document.querySelector('.scaler-place').remove()")
    covered.wait_for_function(f"() => {known} === 0")
    write_again(covered)
    covered.evaluate(PAINTED)
    expect(covered.locator("button")).to_have_count(0)


def test_a_drag_goes_on(covered: Page) -> None:
    x, y = middle(covered, "canvas")
    press(covered, "canvas", lambda: (write_again(covered), covered.mouse.move(x + 400, y + 200))[0])
    assert x + 400 in covered.evaluate("seen")


def test_a_selection_stays_and_one_that_is_being_made_goes_on(covered: Page) -> None:
    selected = "getSelection().toString()"
    covered.evaluate("getSelection().selectAllChildren(document.querySelector('pre'))")
    covered.evaluate(PAINTED)  # a selection is told of a moment later
    write_again(covered)
    assert covered.evaluate(selected) == "first line\nsecond line"
    covered.evaluate("getSelection().removeAllRanges()")  # who presses a selection drags it
    box = covered.locator("pre").bounding_box()
    assert box is not None
    covered.mouse.move(box["x"] + 1, box["y"] + 1)
    covered.mouse.down()
    covered.mouse.move(box["x"] + 40, box["y"] + 1)
    covered.evaluate(PAINTED)
    write_again(covered)
    covered.mouse.move(box["x"] + 200, box["y"] + 1)
    covered.mouse.up()
    assert covered.evaluate(selected) == "first line"


def test_a_row_that_is_pressed_stays_under_the_pointer_and_does_what_it_said(page: Page) -> None:
    show(page, BOARD)
    tell(page, rows(1, "11"))

    def news() -> None:
        page.evaluate(LATER, 4000)  # longer than rows wait for a pointer that rests
        tell(page, rows(2, "31", flags=1))

    page.mouse.move(*middle(page, "[aria-rowindex='2']"))  # a row has its buttons where the pointer is
    press(page, "[aria-rowindex='2'] .scaler-row-act >> nth=0", news)
    assert requests(page) == [{"type": "cancel", "rows": [0], "force": False}]
    expect(page.locator(".scaler-chip[data-kind=done]")).to_have_text("1 done")


def test_an_error_that_is_pressed_stays_when_another_one_comes(page: Page) -> None:
    show(page, BOARD)
    tell(page, rows(1, "441", notes=["no convergence", "no memory", ""]))
    press(
        page,
        "text=no memory >> nth=0",
        lambda: tell(page, rows(2, "444", notes=["no convergence", "no memory", "no luck"])),
    )
    pressed = page.locator(".scaler-error-kind[aria-pressed=true]")
    expect(pressed).to_have_text("no memory")
    pressed.focus()
    page.mouse.move(0, 0)  # the most frequent one stands first unless somebody is about to click
    tell(page, rows(3, "44444", notes=["no convergence", "no memory", "no luck"]))
    expect(page.locator(".scaler-error-kind").first).to_have_text("no luck × 3")
    expect(pressed).to_be_focused()


def test_the_link_of_a_group_keeps_the_focus_while_its_tasks_end(page: Page) -> None:
    show(page, ENGINE)
    tell(page, engine(1, {"running": 2}))
    link = page.get_by_role("button", name="In [7]")
    link.focus()
    link.evaluate("link => link.addEventListener('click', () => (window.clicked = true))")
    tell(page, engine(2, {"running": 1, "done": 1}))
    expect(link).to_be_focused()
    expect(page.locator(".scaler-group").last).to_contain_text("1 done · 1 running")
    press(page, "text=In [7]", lambda: tell(page, engine(3, {"done": 2})))
    assert page.evaluate("window.clicked")
    expect(page.locator(".scaler-group").last).to_contain_text("2 done")


def test_a_card_does_what_its_button_said_and_leaves_what_is_selected_in_a_result(page: Page) -> None:
    show(page, CARD)
    rich = "<table><tr><td>cell</td></tr></table>"
    tell(page, card(1, {"running": 1, "refused": False}, rich=rich))
    page.evaluate("getSelection().selectAllChildren(document.querySelector('td'))")
    tell(page, card(2, {"running": 1, "refused": False}, rich=rich, about="DataFrame of 1 × 1"))
    assert page.evaluate("getSelection().toString()") == "cell"
    press(page, ".scaler-stop-earlier", lambda: tell(page, card(3, {"running": 1, "refused": True}, rich=rich)))
    assert requests(page) == [{"type": "cancel_earlier", "force": False}]
    expect(page.locator(".scaler-stop-earlier")).to_have_text("Kill")
