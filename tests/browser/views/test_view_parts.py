"""Parts of views, in Chromium, without a notebook around them: what a task writes, what goes on, a time line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from scaler_notebook.notebook import views
from scaler_notebook.notebook.views.modules import joined

pytestmark = pytest.mark.browser

CARD = Path(views.__file__).parent / "card"
OPEN = """async ([source, style]) => {
    document.head.appendChild(document.createElement("style")).textContent = style;
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const { makeLog } = await import(url);
    window.asked = [];
    window.log = makeLog((question) => window.asked.push(question));
    const card = document.body.appendChild(document.createElement("div"));
    card.className = "scaler-card";
    card.append(window.log.node);
    window.paint = (lines, cut, keeps) =>
        window.log.paint({ task_id: "a1-1", output: lines.join("\\n"), output_truncated: cut }, keeps);
}"""


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    opened = context.new_page()
    opened.evaluate(OPEN, [joined(CARD / "log.js"), (CARD / "card.css").read_text("utf-8")])
    yield opened
    opened.close()


def paint(page: Page, numbers: range, *, cut: bool = False, keeps: bool = True) -> None:
    page.evaluate(
        "([lines, cut, keeps]) => window.paint(lines, cut, keeps)", [[f"line {n}" for n in numbers], cut, keeps]
    )


def answer(page: Page, start: int, text: str | None, *, question: int = -1, rewrites: int = 0) -> None:
    """Answer one of the questions, the last one unless another is named."""
    page.evaluate(
        "([n, answer]) => window.log.hear({ ...window.asked.at(n), ...answer })",
        [question, {"type": "output", "from": start, "text": text, "rewrites": rewrites}],
    )


def offset(page: Page) -> Any:
    return page.locator(".scaler-earlier pre").evaluate("pre => pre.scrollHeight - pre.clientHeight - pre.scrollTop")


def test_it_follows_the_end_only_from_there_and_keeps_a_selection(page: Page) -> None:
    paint(page, range(100))
    page.locator("summary").click()
    assert offset(page) < 4
    paint(page, range(120))
    assert offset(page) < 4, "it was at the end"
    page.locator(".scaler-earlier pre").evaluate("pre => (pre.scrollTop = 17 * 40)")
    selected = page.locator(".scaler-earlier pre span").nth(42)
    selected.evaluate("line => getSelection().selectAllChildren(line)")
    top = selected.evaluate("line => line.getBoundingClientRect().top")
    paint(page, range(10, 150), cut=True)  # ten lines are gone at the begin
    assert page.evaluate("getSelection().toString()") == "line 42\n"
    moved = page.locator(".scaler-earlier pre span", has_text="line 42")
    assert abs(moved.evaluate("line => line.getBoundingClientRect().top") - top) < 2, "it moved under the pointer"
    expect(page.locator("summary")).to_have_text("137 earlier lines; and more are kept")


def test_all_lines_come_on_demand_and_are_searched(page: Page) -> None:
    text = "\n".join(f"line {n}" for n in range(10_000)) + "\n"
    paint(page, range(9_800, 10_000), cut=True)
    page.locator("summary").click()
    page.get_by_role("button", name="All lines").click()
    assert page.evaluate("window.asked") == [{"question": 1, "rewrites": 0, "from": 0}]
    answer(page, 0, text)
    expect(page.locator("summary")).to_have_text("9\u2009997 earlier lines")
    expect(page.get_by_role("button", name="All lines")).to_be_hidden()
    viewer = page.locator(".scaler-earlier pre")
    expect(viewer.locator("span")).to_have_count(2_000)
    viewer.evaluate("pre => (pre.scrollTop = 0)")
    expect(viewer.locator("span")).to_have_count(4_000)
    page.get_by_role("searchbox").fill("LINE 77")
    expect(page.locator(".scaler-hits")).to_have_text("111 of 10\u2009000 lines")
    expect(viewer.locator("span").first).to_have_text("line 77")
    page.get_by_role("searchbox").fill("")
    paint(page, range(9_900, 10_001), cut=True)
    page.wait_for_function("window.asked.length === 2")
    assert page.evaluate("window.asked[1].from") == len(text)
    answer(page, len(text), "line 10000\n")
    expect(page.locator(".scaler-tail")).to_have_text("line 9998\nline 9999\nline 10000")


def test_what_is_kept_is_saved_as_a_file(page: Page) -> None:
    paint(page, range(5), cut=True)
    page.locator("summary").click()
    page.get_by_role("button", name="Save").click()
    with page.expect_download() as download:
        answer(page, 0, "\x1b[31mred\x1b[0m\n50 %\r100 %\n")
    assert download.value.suggested_filename == "a1-1.log"
    assert download.value.path().read_text() == "red\n100 %"
    expect(page.locator("summary")).to_contain_text("more are kept")


def test_a_file_has_all_lines_whatever_else_was_asked_meanwhile(page: Page) -> None:
    first, last = "".join(f"line {n}\n" for n in range(9)), "line 9\n"
    paint(page, range(5), cut=True)
    page.locator("summary").click()
    page.get_by_role("button", name="All lines").click()
    answer(page, 0, first)
    paint(page, range(6), cut=True)
    page.wait_for_function("window.asked.length === 2")
    page.get_by_role("button", name="Save").click()
    answer(page, len(first), last, question=1)
    with page.expect_download() as download:
        answer(page, 0, first + last)
    assert download.value.path().read_text() == (first + last).rstrip()
    expect(page.locator(".scaler-tail")).to_have_text("line 7\nline 8\nline 9")


def test_text_that_was_cleared_is_forgotten(page: Page) -> None:
    paint(page, range(5), cut=True)
    page.locator("summary").click()
    page.get_by_role("button", name="All lines").click()
    answer(page, 0, "old\nlines\n")
    paint(page, range(6), cut=True)
    page.wait_for_function("window.asked.length === 2")
    answer(page, 0, "new\ntext that is longer\n", rewrites=1)
    expect(page.locator(".scaler-tail")).to_have_text("new\ntext that is longer")
    paint(page, range(7), cut=True)
    page.wait_for_function("window.asked.length === 3")
    assert page.evaluate("window.asked[2].rewrites") == 1


def test_where_nothing_can_be_asked_the_magic_is_named(page: Page) -> None:
    paint(page, range(50), cut=True, keeps=False)
    page.locator("summary").click()
    expect(page.locator("summary")).to_have_text("47 earlier lines; %scaler logs a1-1 prints all")
    expect(page.get_by_role("button", name="All lines")).to_be_hidden()


def test_a_long_line_has_a_bounded_height(page: Page) -> None:
    page.evaluate("window.paint(['x'.repeat(20_000)], false, true)")
    assert page.locator(".scaler-output").evaluate("node => node.clientHeight") < 200


GROWS = """async (source) => {
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const { showWhereItGoesOn } = await import(url);
    const box = document.body.appendChild(document.createElement("div"));
    box.className = "box";
    box.style.cssText = "max-height: 100px; overflow: auto";
    showWhereItGoesOn(box);
}"""
ADD = "(box, height) => (box.appendChild(document.createElement('div')).style.height = `${height}px`)"


def test_what_is_higher_than_its_box_fades_where_it_goes_on(page: Page) -> None:
    page.evaluate(GROWS, joined(CARD.parent / "dom.js"))
    box = page.locator(".box")
    box.evaluate(ADD, 50)
    expect(box).not_to_have_class(re.compile("scaler-goes-on"))
    box.evaluate(ADD, 100)
    expect(box).to_have_class(re.compile("scaler-goes-on"))
    expect(box).to_have_attribute("tabindex", "0")
    box.evaluate("box => (box.scrollTop = 1000)")
    expect(box).not_to_have_class(re.compile("scaler-goes-on"))


DRAW = """async ([source, count]) => {
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const { makeTimeline } = await import(url);
    const all = [...Array(count).keys()];
    const column = (value) => all.map(() => value);
    const rows = {
        length: count, epoch: 0, strings: all.map((n) => `process ${n}`), processor: all, progress: new Map(),
        call: all, note: all, kind: column(1), flags: column(0), submitted: column(0), started: column(0),
        ended: column(null),
    };
    const timeline = makeTimeline({ rows, look: { open: null, kind: null }, now: () => 5_000 }, { open: () => {} });
    document.body.replaceChildren(timeline.node);
    timeline.paint();
    return [document.querySelector(".scaler-hint").textContent, timeline.node.querySelector("canvas").ariaLabel];
}"""


def test_a_time_line_of_more_lanes_than_can_be_named_says_what_they_are(page: Page) -> None:
    source = joined(CARD.parent / "board" / "timeline" / "board_timeline.js")
    assert page.evaluate(DRAW, [source, 27])[0] == "drag to look closer"
    hint, label = page.evaluate(DRAW, [source, 1000])
    assert hint == (
        "1\u2009000 lanes: as many tasks as ran at a time; point at a bar to see its process · drag to look closer"
    )
    assert "1\u2009000 tasks on 1\u2009000 processes, 1\u2009000 at a time" in label
