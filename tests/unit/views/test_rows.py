"""What a view shows of a future: a row."""

from __future__ import annotations

import pytest

from scaler_notebook.notebook.settings_store import settings
from scaler_notebook.notebook.views import rows
from scaler_notebook.testing import detached_future


def test_a_result_is_shown_beside_what_the_task_has_displayed() -> None:
    future = detached_future()
    future.start()
    future.display({"text/html": "<b>a figure</b>", "text/plain": "a figure"})
    future.finish({"score": 0.93})
    row = rows.row(future)
    assert row["result"] == "a figure\n{'score': 0.93}"
    assert row["rich"] is not None
    figure, _, value = row["rich"].partition("</b>")
    assert figure.endswith("<b>a figure")
    assert "{&#x27;score&#x27;: 0.93}" in value


def test_a_pane_shows_the_picture_of_what_a_card_leaves_to_the_front_end() -> None:
    future = detached_future()
    future.start()
    future.display({"text/latex": "$x$", "image/png": "AAAA", "text/plain": "x"})
    future.display({"text/markdown": "**b**", "text/plain": "words"})
    card, pane = rows.row(future), rows.row(future, alone=True)
    assert (card["rich"], card["result"]) == (None, None)
    assert pane["rich"] is not None
    assert pane["rich"].count("<img") == 1
    assert "words" in pane["rich"]
    assert "$x$" not in pane["rich"]
    assert pane["result"] == "x\nwords"


def test_of_none_is_said_what_it_is() -> None:
    future = detached_future()
    future.start()
    future.finish(None)
    row = rows.row(future)
    assert (row["result"], row["rich"]) == (None, None)
    assert (row["about"] or "").startswith("NoneType · ")


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_row_has_as_many_lines_of_output_as_are_wanted(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setattr(settings, "output_lines", 3)
    future = detached_future()
    future.start()
    future.log("a\r1\nb\nc" + end)
    assert (rows.row(future)["output"], rows.row(future)["output_truncated"]) == ("a\r1\nb\nc" + end, False)
    future.log("\nd" if not end else "d\n")
    assert (rows.row(future)["output"], rows.row(future)["output_truncated"]) == ("b\nc\nd" + end, True)
