"""JupyterLab whose server holds the documents: for several people at once, or with their outputs.

Each is in an environment of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kernel_environments import SERVERS, kernel_name, python_of
from lab import LabNotebook
from lab_server import LabServer
from playwright.sync_api import BrowserContext, expect

pytestmark = [pytest.mark.browser, pytest.mark.matrix, pytest.mark.timeout(900)]

NAME = "shared.ipynb"
CELLS = [
    "import time\nfrom scaler_notebook import NotebookExecutor\nex = NotebookExecutor(n_workers=2, grace=0.3)",
    "one = ex.submit(time.sleep, 600)\none",
    "few = ex.map_async(time.sleep, [600] * 3)\nfew",
    "print(one.cancelled(), ex.unfinished())",
]


@pytest.fixture(params=SERVERS)
def shared(request: pytest.FixtureRequest, context: BrowserContext, tmp_path: Path) -> Iterator[LabNotebook]:
    """A notebook in such a JupyterLab."""
    server = LabServer(tmp_path / "lab", str(python_of(request.param)))
    server.write_notebook(NAME, CELLS, kernel_name(request.param))
    try:
        server.start()
        notebook = LabNotebook.open(context, server, NAME)
        yield notebook
        notebook.page.screenshot(path=tmp_path / "end.png")
        notebook.page.close()
    finally:
        server.stop()


def test_a_card_and_a_board_cancel(shared: LabNotebook) -> None:
    for cell in range(3):
        shared.run(cell)
        shared.wait_until_run(cell)
    card, board = shared.output(1), shared.output(2)
    card.get_by_role("button", name="Cancel").click()
    expect(card.locator(".scaler-badge:visible")).to_have_text("cancelled: stopped")
    board.get_by_role("button", name="Cancel all").click()
    expect(board.locator(".scaler-chip[data-kind=cancelled]")).to_have_text("3 cancelled")
    shared.run(3)
    shared.wait_until_run(3)
    # jupyter-server-documents appends to this cell what is to replace the display in another.
    assert shared.text(3).endswith("True []\n")
