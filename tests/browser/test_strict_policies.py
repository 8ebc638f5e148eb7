"""A page whose policy forbids modules of Blobs, which is how front ends load widgets: what is seen there is current."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import LabNotebook
from lab_server import LabServer
from playwright.sync_api import BrowserContext, expect

pytestmark = [pytest.mark.browser, pytest.mark.matrix]

NAME = "strict.ipynb"
SETUP = """
%load_ext scaler_notebook
import time
from pathlib import Path
from scaler_notebook import NotebookExecutor
ex = NotebookExecutor(n_workers=2, grace=0.3)
def wait_for(gate):
    while not Path(gate).exists(): time.sleep(0.01)
    return "seen"
"""
CELLS = [
    SETUP,
    "one = ex.submit(wait_for, {gate!r})\none",
    "few = ex.map_async(wait_for, ['/never'] * 2)\nfew",
    "ex",
    "%scaler cancel --all",
]
# JupyterLab is loaded: from here on, neither a Blob nor a text is a script.
FORBID = """() => {
    window.refused = [];
    document.addEventListener("securitypolicyviolation", (event) => window.refused.push(event.blockedURI));
    const meta = document.createElement("meta");
    Object.assign(meta, { httpEquiv: "Content-Security-Policy", content: "script-src 'self'" });
    document.head.append(meta);
}"""


@pytest.fixture
def strict(context: BrowserContext, lab_server: LabServer, tmp_path: Path) -> Iterator[LabNotebook]:
    """A notebook in such a page."""
    gate = str(tmp_path / "gate")
    lab_server.write_notebook(NAME, [cell.format(gate=gate) if "{gate" in cell else cell for cell in CELLS])
    notebook = LabNotebook.open(context, lab_server, NAME)
    notebook.page.evaluate(FORBID)
    yield notebook
    notebook.page.screenshot(path=tmp_path / "end.png")
    notebook.page.close()
    lab_server.shut_down_kernels(NAME)


def test_static_forms_say_how_it_goes_on_and_ends(strict: LabNotebook, tmp_path: Path) -> None:
    for cell in range(4):
        strict.run(cell)
        strict.wait_until_run(cell)
    card, board, engine = (strict.output(cell) for cell in (1, 2, 3))
    expect(card).to_contain_text("running")
    expect(board).to_contain_text("1 running")
    expect(engine).to_contain_text("2 workers")
    strict.page.wait_for_function("window.refused.includes('blob')")
    (tmp_path / "gate").touch()
    expect(card).to_contain_text("'seen'")
    expect(board).to_contain_text("2 running")
    strict.run(4)
    strict.wait_until_run(4)
    expect(board).to_contain_text("2 cancelled")
    for output in (card, board, engine):
        expect(output.locator(".scaler-cover")).to_have_count(0)
        expect(output).not_to_contain_text("Error displaying widget")
