"""The static forms of a card: what they say, and that nothing of a task's text becomes markup."""

from __future__ import annotations

import json
import re
import time
import traceback
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from scaler_notebook.notebook.views import frames
from scaler_notebook.notebook.views.frames import library_folds, origin
from scaler_notebook.notebook.views.row import Row, RowProgress, duration, progress_words, read_progress, roughly
from scaler_notebook.notebook.views.static import static_html
from scaler_notebook.notebook.views.static.badges import badge_of
from scaler_notebook.notebook.views.static.static_html import html, text
from scaler_notebook.protocol.messages import TaskProgress
from scaler_notebook.quantities import amount

NOW = 1_700_000_000.0
HOSTILE = "<img src=x onerror=alert(1)>\"'&"

WORDS: list[tuple[dict[str, Any], str, str]] = [
    ({"state": "submitted", "word": "queued", "started_at": None}, "queued", "queued"),
    ({"state": "running", "word": "running"}, "running", "running"),
    ({"state": "cancelling", "word": "cancelling…"}, "cancelling…", "cancelling…"),
    ({"state": "finished", "word": "done", "outcome": "success", "ended_at": NOW}, "done", "done"),
    ({"state": "finished", "word": "failed", "outcome": "failed", "ended_at": NOW}, "failed", "failed"),
    ({"state": "finished", "word": "lost", "outcome": "lost", "ended_at": NOW}, "lost", "lost"),
    (
        {"state": "cancelled", "word": "cancelled", "reason": "never started", "ended_at": NOW},
        "cancelled: never started",
        "cancelled: never started",
    ),
]


def row(**changes: Any) -> Row:
    fields: Any = {
        "task_id": "a1b2-3",
        "call": "fit(model, X, y)",
        "state": "running",
        "word": "running",
        "outcome": None,
        "reason": None,
        "refused": False,
        "submitted_at": NOW - 9.0,
        "started_at": NOW - 4.2,
        "ended_at": None,
        "output": "",
        "output_truncated": False,
        "error": None,
        "origin": None,
        "traceback": None,
        "folds": [],
        "result": None,
        "rich": None,
        "about": None,
        "nested": [],
        "nested_words": None,
        "progress": None,
    }
    assert changes.keys() <= fields.keys()
    result: Row = fields | changes
    return result


def finished(**changes: Any) -> Row:
    return row(**{"state": "finished", "word": "done", "outcome": "success", "ended_at": NOW, **changes})


class Page(HTMLParser):
    """The elements of a page, its texts by class of the element around them, and what is folded away."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.words = ""
        self.folded = ""
        self.by_class: dict[str, str] = {}
        self._open: list[tuple[str, str]] = []
        self.feed(source)
        self.close()
        assert not self._open, "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self._open.append((tag, dict(attrs).get("class") or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        self.words += data
        open_tags = [tag for tag, _ in self._open]
        if "details" in open_tags and "summary" not in open_tags:
            self.folded += data
        for _, name in self._open:
            self.by_class[name] = self.by_class.get(name, "") + data


@pytest.mark.parametrize(("changes", "badge", "words"), WORDS)
def test_each_state_says_its_word(changes: dict[str, Any], badge: str, words: str) -> None:
    one = row(**changes)
    page = Page(html(one, now=NOW))
    assert page.by_class["scaler-badge"] == badge
    assert "path" in page.tags, "never colour alone"
    assert text(one, now=NOW).startswith(f"<ScalerFuture a1b2-3 {words} ")
    assert badge_of(one["state"], one["outcome"]).word == one["word"]


def test_text_is_one_line_unless_there_is_an_end_to_tell() -> None:
    assert text(row(), now=NOW) == "<ScalerFuture a1b2-3 running 4.2 s: fit(model, X, y)>"
    assert text(finished(result="0.93"), now=NOW + 60).splitlines() == [
        "<ScalerFuture a1b2-3 done 4.2 s: fit(model, X, y)>",
        "  0.93",
    ]
    failed = finished(outcome="failed", word="failed", error="ValueError: bad", traceback="Traceback …")
    assert text(failed, now=NOW).splitlines()[1:] == ["  ValueError: bad"]


def test_text_stays_short_and_sends_a_terminal_no_escapes() -> None:
    long = finished(
        call="fit(\n  " + "x" * 500 + ")",
        result="\n".join(f"\x1b[31m{n}\x1b[0m\x1b[?25h\x1b]0;title\x07\x1b[" for n in range(50)),
    )
    lines = text(long, now=NOW).splitlines()
    assert lines[1:] == ["  0[", "  1[", "  2[", "  …"]
    assert len(lines[0]) < 150
    assert "\x1b" not in "".join(lines)


def test_time_is_the_wait_while_queued_then_the_run_and_stops_at_the_end() -> None:
    queued = row(state="submitted", word="queued", started_at=None)
    assert Page(html(queued, now=NOW)).by_class["scaler-time"] == "9.0 s"
    assert Page(html(row(), now=NOW)).by_class["scaler-time"] == "4.2 s"
    assert Page(html(finished(), now=NOW + 3600)).by_class["scaler-time"] == "4.2 s"
    never = row(state="cancelled", word="cancelled", reason="never started", started_at=None, ended_at=NOW)
    assert Page(html(never, now=NOW + 3600)).by_class["scaler-time"] == "9.0 s"


@pytest.mark.parametrize(
    ("seconds", "settled", "words"),
    [
        (-1.0, False, "0.0 s"),
        (0.012, True, "12 ms"),
        (0.012, False, "0.0 s"),
        (0.9999, True, "1.0 s"),
        (59.94, True, "59.9 s"),
        (59.96, True, "1 min 00 s"),
        (192.0, True, "3 min 12 s"),
        (3599.7, True, "1 h 00 min"),
        (3912.0, True, "1 h 05 min"),
    ],
)
def test_duration(seconds: float, settled: bool, words: str) -> None:
    assert duration(seconds, settled=settled) == words


def test_nothing_of_a_task_becomes_markup() -> None:
    calm, hostile = (
        html(
            finished(
                task_id=words,
                call=words,
                word=words,
                output=f"{words}\x1b[31m{words}\n" * 5,
                error=words,
                traceback=words,
                result=words,
                progress={"done": 1, "total": 2, "amount": words, "left": words, "note": words},
            ),
            remark=words,
            now=NOW,
        )
        for words in ("calm", HOSTILE)
    )
    assert Page(hostile).tags == Page(calm).tags
    assert Page(hostile).attributes == Page(calm).attributes
    assert Page(hostile).words == Page(calm).words.replace("calm", HOSTILE)
    assert Page(html(row(), remark=HOSTILE)).words.endswith(f"{HOSTILE}\n")


def test_there_is_no_script_and_no_style_element() -> None:
    tags = set(Page(html(finished(output="a\n" * 9, error="e", traceback="t", result="r"), now=NOW)).tags)
    assert tags <= {"div", "span", "code", "svg", "path", "details", "summary", "pre", "br"}


def test_what_is_unfinished_says_of_when_it_is_and_how_to_stop_it() -> None:
    moment = time.strftime("%H:%M:%S", time.localtime(NOW))
    hint = "stop it with %scaler cancel a1b2-3"
    words = Page(html(row(), remark=hint, now=NOW)).words
    assert f"as of {moment}" in words
    assert words.rstrip().endswith(hint)
    assert Page(html(row(), now=NOW)).words.rstrip().endswith(f"as of {moment}")
    assert "as of" not in Page(html(finished(), now=NOW)).words


def test_a_rich_display_takes_the_place_of_the_text() -> None:
    shown = html(finished(result="   a\n0  1", rich="<table><tr><td>1</td></tr></table>"), now=NOW)
    assert "<td>1</td>" in shown
    assert "<pre" not in shown


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"state": "finished", "outcome": "failed", "word": "failed", "error": "ValueError: bad"}, True),
        ({"state": "cancelled", "word": "cancelled", "reason": "stopped"}, True),
        ({"state": "finished", "outcome": "success", "word": "done"}, False),
        ({}, False),
    ],
)
def test_what_failed_or_was_cancelled_says_how_to_try_again(changes: dict[str, Any], says: bool) -> None:
    assert ("fut.retry() submits the same call again" in Page(html(row(**changes), now=NOW)).words) == says


def test_what_has_ended_can_carry_a_remark() -> None:
    words = Page(html(finished(), remark="you came too late", now=NOW)).words
    assert words.rstrip().endswith("you came too late")
    assert "as of" not in words


def test_a_refused_cancel_is_told_while_the_task_runs() -> None:
    assert "still running" in Page(html(row(refused=True), now=NOW)).words
    assert "cancel refused" in text(row(refused=True), now=NOW)
    assert "still running" not in Page(html(finished(refused=True), now=NOW)).words
    assert "refused" not in text(finished(refused=True), now=NOW)


def test_long_output_shows_its_last_lines_and_folds_the_rest() -> None:
    lines = [f"line {n}" for n in range(200)]
    page = Page(html(row(output="\n".join(lines) + "\n"), now=NOW))
    assert page.folded.strip() == "\n".join(lines[:-3])
    assert page.by_class["scaler-output"].endswith("\n".join(lines[-3:]))
    assert "197 earlier lines" in page.words
    assert "prints all" not in page.words
    cut = Page(html(row(output="\n".join(lines), output_truncated=True), now=NOW))
    assert "197 earlier lines; %scaler logs a1b2-3 prints all" in cut.words
    assert "1\u2009997 earlier lines" in Page(html(row(output="a\n" * 2000), now=NOW)).words


def test_short_output_is_not_folded_and_none_leaves_no_trace() -> None:
    short = Page(html(row(output="one\ntwo\nthree\n"), now=NOW))
    assert "details" not in short.tags
    assert short.by_class["scaler-output"].strip() == "one\ntwo\nthree"
    assert "scaler-output" not in Page(html(row(output=" \n"), now=NOW)).by_class


def test_output_reads_as_in_a_terminal() -> None:
    output = "loading\r 50%\r100%\r\n\x1b[1;31mred\x1b[0m \x1b[K\x1b[48;5;31mplain\x07"
    source = html(row(output=output), now=NOW)
    assert Page(source).by_class["scaler-output"].strip() == "100%ing\nred plain"
    assert re.search(r'<span style="font-weight:700;color:[^"]+">red</span> plain', source)


NOTEBOOKS = Path(__file__).parents[2] / "support" / "notebooks"
COLOURS = json.loads((NOTEBOOKS / "terminal_colours.json").read_text("utf-8"))


@pytest.mark.parametrize("case", COLOURS, ids=[case["name"] for case in COLOURS])
def test_a_terminals_colours(case: dict[str, Any]) -> None:
    """A browser test has the live card draw the same table."""

    def drawn(words: str, bold: bool, colour: str) -> str:
        style = ("font-weight:700;" if bold else "") + (f"color:{colour}" if colour else "")
        return f'<span style="{style}">{words}</span>' if style else words

    expected = "\n".join("".join(drawn(*run) for run in line) for line in case["lines"])
    assert f">\n{expected}</pre>" in static_html.terminal_block(case["text"])


def test_the_error_comes_first_and_its_traceback_is_folded() -> None:
    failed = finished(word="failed", outcome="failed", error="ValueError: bad", traceback="Traceback\n  x")
    page = Page(html(failed, now=NOW))
    assert page.by_class["scaler-error"].startswith("ValueError: bad")
    assert page.folded.strip() == "Traceback\n  x"
    bare = Page(html(finished(word="failed", outcome="failed", error="WorkerDiedError: gone"), now=NOW))
    assert "details" not in bare.tags


def reported(
    done: float, total: float = -1.0, note: str = "", rate: float = -1.0, unit: str = "", *, over: bool = False
) -> RowProgress:
    return read_progress(TaskProgress("a1-1", done, total, note, rate, unit), over)


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (reported(340, 1000, "loss=0.3", 12.1), "34 % · 340 of 1\u2009000 · 12.1 it/s · about 55 s left · loss=0.3"),
        (reported(340, 1000, "loss=0.3", 12.1, over=True), "34 % · 340 of 1\u2009000 · 12.1 it/s · loss=0.3"),
        (reported(340, rate=12.16, unit="batch"), "340 · 12.2 batch/s"),
        (reported(1000, 1000, rate=1234.5), "100 % · 1\u2009000 of 1\u2009000 · 1\u2009234 it/s"),
        (reported(999.9, 1000, rate=0.4), "99 % · 999.9 of 1\u2009000 · 2.5 s/it"),
        (reported(29, 100, rate=0.005), "29 % · 29 of 100 · 3 min 20 s/it · about 3.9 h left"),
        (reported(0, 0, rate=1), "0 · 1 it/s"),
        (reported(1.5e6, 3e9, "b.csv", 2e6, "B"), "0 % · 1.5 MB of 3.0 GB · 2.0 MB/s · about 25 min left · b.csv"),
        (reported(1, 2, "a\nb", 0.25, "x\n" * 50), f"50 % · 1 of 2 · 4.0 s/{'x ' * 10} · about 4 s left · a b"),
        (reported(1, 2, rate=1e-300), "50 % · 1 of 2"),
        (reported(1, 1e300, rate=1), f"0 % · 1 of {amount(1e300)} · 1 it/s"),
        (reported(1, 2, rate=float("nan")), "50 % · 1 of 2"),
        (reported(float("nan"), 2), "0 % · nan of 2"),
        (reported(1e308, 1e-308), "100 %"),
    ],
)
def test_progress_in_words(progress: RowProgress, words: str) -> None:
    """With the rate and the time left as far as the task tells, and no sooner."""
    assert progress_words(progress)[: len(words) if words == "100 %" else None] == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (9.4, "9 s"), (57.4, "55 s"), (57.6, "60 s"), (89, "90 s"), (95, "2 min"), (5400, "1.5 h")],
)
def test_a_time_left_is_no_more_exact_than_it_is_known(seconds: float, words: str) -> None:
    assert roughly(seconds) == words


def test_progress_is_a_bar_and_words() -> None:
    known = html(row(progress=reported(1234.5, 2469, "fold 2")), now=NOW)
    assert "width:50.0%" in known
    assert "50 % · 1\u2009234.5 of 2\u2009469 · fold 2" in Page(known).words
    assert "width:100.0%" in html(row(progress=reported(9, 3)), now=NOW)
    unknown = row(progress=reported(7))
    assert text(unknown, now=NOW) == "<ScalerFuture a1b2-3 running 4.2 s, 7: fit(model, X, y)>"
    assert "width:0.0%" in html(unknown, now=NOW)


def test_without_styles_the_words_stay_apart() -> None:
    assert Page(html(finished(), now=NOW)).words.split() == ["done", "fit(model,", "X,", "y)", "a1b2-3", "4.2", "s"]


def test_the_live_card_draws_the_same_badges() -> None:
    folder = Path(static_html.__file__).parents[1]
    script, styles = (folder / "icons.js").read_text("utf-8"), (folder / "card" / "card.css").read_text("utf-8")
    for changes, _, _ in WORDS:
        badge = badge_of(changes["state"], changes.get("outcome"))
        assert f'"{badge.icon}"' in script
        assert f": {badge.hue};" in styles


def test_the_place_of_an_error_is_in_the_users_own_code() -> None:
    own = ("/home/somebody/fits.py", 3, "fit")
    library = [(json.__file__, 5, "loads"), (pytest.__file__, 7, "raises"), (static_html.__file__, 9, "html")]
    frozen = ("<frozen importlib._bootstrap>", 11, "_call")
    assert origin([own, *library, frozen]) == "/home/somebody/fits.py, line 3, in fit"
    assert origin([*library, frozen]) is None


def test_frames_of_libraries_are_folded() -> None:
    def loads() -> None:
        json.loads("{")

    try:
        loads()
    except ValueError:
        shown = traceback.format_exc()
    ((first, behind, frames),) = folds = library_folds(shown)
    lines = shown.split("\n")
    assert frames >= 2
    assert all(f'"{json.__path__[0]}' in line for line in lines[first:behind] if line.startswith("  File"))
    assert lines[behind].startswith("json.decoder.JSONDecodeError")
    page = html(finished(word="failed", outcome="failed", error="E", traceback=shown, folds=folds), now=NOW)
    assert f"… {frames} frames of libraries" in Page(page).words
    assert library_folds("\n".join(lines[first:])) == [], "all of it is the library's"


GROUP = f"""\
  + Exception Group Traceback (most recent call last):
  |   File "{json.__file__}", line 1, in outer
  |     raise group
  |   File "/tmp/ipykernel_1/2.py", line 2, in fit
  |     outer()
  | ExceptionGroup: both (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "{json.__file__}", line 3, in inner
    |     raise error
    |     ^^^^^^^^^^^
    |   File "{json.__file__}", line 4, in innermost
    | ValueError: bad
    +------------------------------------"""  # as Python 3.11 and later write it


def test_frames_of_the_exceptions_in_a_group_are_folded_and_name_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    assert library_folds(GROUP) == [(1, 3, 1), (8, 12, 2)]
    monkeypatch.setattr(frames, "_location", lambda file: "In[3]" if file.startswith("/tmp/") else file)
    named = frames.with_cells(GROUP)
    assert "  |   Cell In[3], line 2, in fit\n" in named
    assert library_folds(named) == [(1, 3, 1), (8, 12, 2)]
    assert library_folds("\n".join(GROUP.split("\n")[6:])) == [], "all of it is the library's"
