"""Cancel while the kernel is busy: in our waits everywhere, in the user's own code where the kernel has subshells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata

import pytest
from kernel_environments import VERSIONS, kernel_name, kernel_specs
from lab import Lab, LabNotebook
from packaging.version import Version
from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.browser

CELLS = [
    """
import asyncio, time
from IPython.display import display
from scaler_notebook import NotebookExecutor, as_completed, wait
ex = NotebookExecutor(n_workers=4)
def sleep():
    return ex.submit(time.sleep, 600)
def talk():
    for n in range(1_000_000):
        print(n, flush=True)
        time.sleep(0.01)
"""
]
OUR_WAITS = {
    "result": "f.result()",
    "wait": "wait([f])",
    "as_completed": "list(as_completed([f]))",
    "with": "with ex: pass",
}
NO_ANSWER = "no answer yet: the kernel may be busy; you can click again"
USERS_CODE = {
    "sleeping": "time.sleep(600)",
    "looping": "while True: pass",
    "awaiting": "await asyncio.sleep(600)",
}


@dataclass(frozen=True)
class Setting:
    """A kernel in a JupyterLab with or without subshells; no version is the installed one."""

    version: str | None
    subshells: bool

    def __str__(self) -> str:
        return f"{self.version or 'installed'}-{'subshells' if self.subshells else 'none'}"

    def hears(self, busy: str) -> bool:
        """Does a click reach this kernel while the user's own code is busy so?"""
        version = Version(self.version or metadata.version("ipykernel"))
        return (self.subshells and version >= Version("7.1")) or (busy == "awaiting" and version >= Version("7.4"))


TWENTY_MESSAGES = """tail => new Promise((resolve, reject) => {
    let left = 20, before = tail.textContent;
    new MutationObserver((_, observer) => {
        if (tail.textContent !== before && !--left) { observer.disconnect(); resolve(); }
        before = tail.textContent;
    }).observe(tail, {childList: true, characterData: true, subtree: true});
    setTimeout(reject, 20000, `${left} messages have not come`);
})"""

DEFAULT = Setting(None, subshells=True)
SETTINGS = [DEFAULT, *(Setting(version, subshells) for version in VERSIONS for subshells in (True, False))]


@pytest.fixture(
    scope="module",
    params=[pytest.param(s, marks=[] if s is DEFAULT else pytest.mark.matrix) for s in SETTINGS],
    ids=str,
)
def setting(request: pytest.FixtureRequest) -> Setting:
    chosen: Setting = request.param
    return chosen


@pytest.fixture
def kernel(setting: Setting) -> str:
    if setting.version is None:
        return "python3"
    kernel_specs(setting.version)
    return kernel_name(setting.version)


@pytest.fixture(scope="module", autouse=True)
def subshells(setting: Setting, lab: Lab) -> Iterator[None]:
    """JupyterLab uses subshells, or does not."""
    if setting.subshells:
        yield
        return
    lab.server.set("kernels-settings", {"commsOverSubshells": "disabled"})
    lab.load()
    yield
    lab.server.set("kernels-settings", {})
    lab.load()


@contextmanager
def busy(notebook: LabNotebook, source: str) -> Iterator[int]:
    """A cell that is still running when the block ends, and is stopped then."""
    cell = notebook.begin(source)
    notebook.wait_until_running(cell)
    try:
        yield cell
        assert notebook.is_running(cell)
    finally:
        notebook.interrupt()
        notebook.wait_until_run(cell)


def badge(card: Locator) -> Locator:
    return card.locator(".scaler-badge").first  # the stop button may show more cards


def click_and_see(notebook: LabNotebook, card: Locator, source: str, heard: bool) -> None:
    """A click while a cell of the user's runs is answered at once; or says so, and is answered after the cell."""
    with busy(notebook, source):
        card.locator(".scaler-cancel").click()
        if heard:
            expect(badge(card)).to_have_text("cancelled: stopped")
        else:
            expect(card.locator(".scaler-note")).to_have_text(NO_ANSWER)
            expect(badge(card)).to_have_text("running")
    expect(badge(card)).to_have_text("cancelled: stopped")


@pytest.mark.matrix
def test_a_click_during_our_waits(notebook: LabNotebook) -> None:
    for name, source in OUR_WAITS.items():
        shown = notebook.execute("f = sleep()\nf")
        card = notebook.output(shown)
        expect(badge(card)).to_have_text("running")
        waiting = notebook.begin(source)
        notebook.wait_until_running(waiting)
        card.locator(".scaler-cancel").click()
        expect(badge(card)).to_have_text("cancelled: stopped")
        notebook.wait_until_run(waiting)
        assert ("TaskCancelledError" in notebook.text(waiting)) == (name == "result")


REST = {"awaiting": pytest.mark.matrix, "waiting": pytest.mark.matrix}


def kinds(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("doing", [pytest.param(name, marks=REST.get(name, ())) for name in names])


@kinds(*USERS_CODE)
def test_a_click_while_the_users_code_is_busy(notebook: LabNotebook, setting: Setting, doing: str) -> None:
    card = notebook.output(notebook.execute("f = sleep()\nf"))
    expect(badge(card)).to_have_text("running")
    click_and_see(notebook, card, USERS_CODE[doing], setting.hears(doing))


@kinds("waiting", *USERS_CODE)
def test_a_card_of_the_cell_that_is_busy(notebook: LabNotebook, setting: Setting, doing: str) -> None:
    """Its first message comes when the kernel is busy already."""
    hears = doing == "waiting" or setting.hears(doing)
    with busy(notebook, f"f, g = sleep(), sleep()\ndisplay(f)\n{USERS_CODE.get(doing, 'g.result()')}") as cell:
        card = notebook.output(cell)
        if hears:
            expect(badge(card)).to_have_text("running")
            card.locator(".scaler-cancel").click()
            expect(badge(card)).to_have_text("cancelled: stopped")
        else:
            expect(card.locator(".scaler-card-static")).to_be_visible()  # until the kernel hears of a live one
    if not hears:
        expect(badge(card)).to_have_text("running")
    notebook.execute("ex.cancel_all()")
    expect(badge(card)).to_have_text("cancelled: stopped")


def test_a_click_after_many_messages_and_a_reload_in_two_views(notebook: LabNotebook, setting: Setting) -> None:
    cells = [notebook.execute("f = ex.submit(talk)\nf"), notebook.execute("f")]
    for turn in ("as it was", "loaded again"):
        if turn == "loaded again":
            notebook.reload()
            notebook.wait_for_kernel()
        cards = [notebook.output(cell) for cell in cells]
        for card in cards:
            card.locator(".scaler-tail").evaluate(TWENTY_MESSAGES)
        if turn == "as it was":
            with busy(notebook, USERS_CODE["sleeping"]):
                pass
    click_and_see(notebook, cards[1], USERS_CODE["sleeping"], setting.hears("sleeping"))
    expect(badge(cards[0])).to_have_text("cancelled: stopped")
