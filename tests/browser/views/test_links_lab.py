"""A link to a line of a cell that is longer than what an editor draws of it, in JupyterLab."""

from __future__ import annotations

import pytest
from lab import LabNotebook
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.matrix]

LINES = [f"n = {n}" for n in range(600)]
LONG = "\n".join([*LINES[:150], "def bad(): raise ValueError('here')", *LINES[150:], "ex.submit(bad)"])
CELLS = ["from scaler_notebook import NotebookExecutor\nex = NotebookExecutor(n_workers=1)", f"\n{LONG}"]


def test_a_link_leads_to_a_line_that_is_not_drawn_yet(notebook: LabNotebook) -> None:
    notebook.run(1)
    notebook.wait_until_run(1)
    link = notebook.output(1).locator(".scaler-origin").get_by_role("button", name="In[2], line 151")
    link.scroll_into_view_if_needed()
    line = notebook.page.locator(".cm-line").get_by_text("raise ValueError", exact=False)
    expect(line).to_have_count(0)
    link.click()
    expect(line).to_be_in_viewport()
    expect(link).to_be_enabled()
