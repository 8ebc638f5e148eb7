"""Cards and boards of tasks on a real cluster of OpenGRIS Scaler, in JupyterLab."""

from __future__ import annotations

import pytest
from lab import LabNotebook
from playwright.sync_api import expect
from scaler_cluster import shared

pytestmark = pytest.mark.browser

SETUP = """
%load_ext scaler_notebook
%scaler connect {address}
import time
from scaler_notebook import progress

def steps(n):
    for step in progress(range(n), note="steps"):
        print("step", step)
        time.sleep(0.05)
    time.sleep(600)
"""


@pytest.fixture
def cells() -> list[str]:
    return [SETUP.format(address=shared().address)]


def test_a_click_is_confirmed_by_the_cluster(notebook: LabNotebook) -> None:
    assert "a cluster runs at scaler://" in notebook.text(0)
    card = notebook.output(notebook.execute("f = %scaler submit steps(10)\nf"))
    expect(card.locator(".scaler-badge")).to_have_text("running")
    expect(card).to_contain_text("step 9")
    card.get_by_role("button", name="Cancel").click()
    expect(card.locator(".scaler-badge")).to_have_text("cancelled: stopped")
    assert notebook.text(notebook.execute("print(f.cancel_reason, f.progress.done)")) == "CancelReason.STOPPED 10.0\n"


def test_a_board_cancels_all(notebook: LabNotebook) -> None:
    board = notebook.output(notebook.execute("group = %scaler map time.sleep, [600] * 20\ngroup"))
    expect(board).to_contain_text("18 queued")
    board.get_by_role("button", name="Cancel all").click()
    expect(board).to_contain_text("20 cancelled")
    found = notebook.text(notebook.execute("print(sorted({str(f.cancel_reason) for f in group}))"))
    assert found == "['CancelReason.NEVER_STARTED', 'CancelReason.STOPPED']\n"
