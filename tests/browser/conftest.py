"""One JupyterLab in one Chromium for all tests here; a test gets its module's notebook as if it were new."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest
from lab import Lab, LabNotebook, browser
from lab_server import LabServer
from playwright.sync_api import BrowserContext

FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="package")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """JupyterLab's server."""
    server = LabServer(tmp_path_factory.mktemp("lab"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="package")
def context(lab_server: LabServer) -> Iterator[BrowserContext]:
    """A browser; while it is open, an asyncio loop counts as running on this thread."""
    with browser() as opened:
        yield opened


@pytest.fixture(scope="package")
def lab(context: BrowserContext, lab_server: LabServer) -> Lab:
    """JupyterLab in a page of its own, which is loaded once."""
    return Lab(context, lab_server)


@pytest.fixture
def cells(request: pytest.FixtureRequest) -> Sequence[str]:
    """The cells of the notebook: the module's ``CELLS``. The first one is run before each test."""
    found: Sequence[str] = request.module.CELLS
    return found


@pytest.fixture
def kernel() -> str:
    """Which kernel the notebook has."""
    return "python3"


@pytest.fixture
def new_kernel(lab: Lab) -> None:
    """For a test, by ``usefixtures``, that would see cards or tasks of others: no kernel of another is used."""
    lab.close()


@pytest.fixture
def notebook(
    request: pytest.FixtureRequest, lab: Lab, cells: Sequence[str], kernel: str, tmp_path: Path
) -> Iterator[LabNotebook]:
    """The module's notebook, its first cell run; after a test that fails, the next one gets a new page and kernel."""
    opened = lab.notebook(f"{request.path.stem}.ipynb", cells, kernel)
    opened.run(0)
    opened.wait_until_run(0)
    yield opened
    opened.page.screenshot(path=tmp_path / "end.png")
    assert opened.problems == [], "the page threw errors"
    if FAILED not in request.node.stash:
        lab.reset()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let fixtures know that their test has failed."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report
