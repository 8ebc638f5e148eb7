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


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_row_has_as_many_lines_of_output_as_are_wanted(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setattr(settings, "output_lines", 3)
    future = detached_future()
    future.start()
    future.log("a\r1\nb\nc" + end)
    assert (rows.row(future)["output"], rows.row(future)["output_truncated"]) == ("a\r1\nb\nc" + end, False)
    future.log("\nd" if not end else "d\n")
    assert (rows.row(future)["output"], rows.row(future)["output_truncated"]) == ("b\nc\nd" + end, True)
