"""A page whose policy forbids modules of Blobs, as which front ends load widgets: what is seen there is current."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import LabNotebook
from lab_server import LabServer
from playwright.sync_api import BrowserContext, ConsoleMessage, Route, expect

pytestmark = [pytest.mark.browser, pytest.mark.matrix]

POLICY = "script-src 'self' 'unsafe-inline' 'unsafe-eval'"  # what JupyterLab itself needs, and no `blob:`
NAME = "strict.ipynb"
CELLS = [
    "import os\nfrom scaler_notebook import NotebookExecutor\n"
    "%load_ext scaler_notebook\n"
    "ex = NotebookExecutor(n_workers=2)\n"
    "def wait_for(gate):\n    with open(gate) as file: return file.read()\n",
    "one = ex.submit(wait_for, GATE)\none",
    "few = ex.map_async(wait_for, [GATE + '1'] * 2)\nfew",
    "ex",
    "%scaler cancel few",
]


def obey(route: Route) -> None:
    """Give the page the policy, as a careful server would."""
    response = route.fetch()
    route.fulfill(response=response, headers={**response.headers, "content-security-policy": POLICY})


@pytest.fixture
def refused() -> list[str]:
    """What the browser has said of what it refused."""
    return []


@pytest.fixture
def strict(context: BrowserContext, lab_server: LabServer, refused: list[str], tmp_path: Path) -> Iterator[LabNotebook]:
    """A notebook in such a page."""

    def hear(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            refused.append(message.text)

    lab_server.write_notebook(NAME, CELLS)
    documents = re.compile(rf"/lab/tree/{NAME}")
    context.route(documents, obey)
    context.on("console", hear)
    notebook = LabNotebook.open(context, lab_server, NAME)
    yield notebook
    notebook.page.screenshot(path=tmp_path / "end.png")
    notebook.page.close()
    context.unroute(documents)
    lab_server.shut_down_kernels(NAME)


def test_static_forms_say_how_it_goes_on_and_ends(strict: LabNotebook, refused: list[str], tmp_path: Path) -> None:
    gates = tmp_path / "gate", tmp_path / "gate1"
    for gate in gates:
        strict.execute(f"import os\nGATE = {str(gates[0])!r}\nos.mkfifo({str(gate)!r})")
    strict.run(0)
    strict.wait_until_run(0)
    for cell in (1, 2, 3):
        strict.run(cell)
        strict.wait_until_run(cell)
    card, board, engine = (strict.output(cell) for cell in (1, 2, 3))
    expect(card).to_contain_text("running")
    expect(board).to_contain_text("1 running")
    expect(engine).to_contain_text("NotebookExecutor")
    assert any("blob:" in text for text in refused), "the policy forbids nothing that we need"
    gates[0].write_text("seen")
    expect(card).to_contain_text("done")
    expect(card).to_contain_text("seen")
    expect(board).to_contain_text("2 running")
    strict.run(4)
    strict.wait_until_run(4)
    expect(board).to_contain_text("2 cancelled")
    for output in (card, board, engine):
        expect(output).not_to_contain_text("Error displaying widget")
