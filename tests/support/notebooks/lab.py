"""JupyterLab and Notebook 7 as their users have them: a real browser, and hands to click with."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from lab_server import FrontEnd, LabServer
from playwright.sync_api import BrowserContext, Locator, Page, ViewportSize, expect, sync_playwright

PATIENCE_MS = 20_000  # the machine may be busy
VIEWPORT: ViewportSize = {"width": 1200, "height": 900}
LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"
BROWSER_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Run in a kernel, it ends all executors, ours that `%scaler` made included, and forgets all names.
RESET = """
from scaler_notebook.client.executor import latest
while (executor := latest()) is not None: executor.disconnect()
get_ipython().extension_manager.unload_extension("scaler_notebook")
get_ipython().reset(new_session=False)
"""


def chromium() -> str:
    """Where Chromium is; an error that says what to do if it is nowhere."""
    named = os.environ.get("CHROMIUM")
    for name in (named, "chromium", "chromium-browser", "google-chrome"):
        if name and (path := shutil.which(name)):
            return path
    raise RuntimeError("no Chromium found: install it (Debian: apt-get install chromium) or set CHROMIUM to its path")


@contextlib.contextmanager
def browser(viewport: ViewportSize = VIEWPORT, **options: Any) -> Iterator[BrowserContext]:
    """A headless Chromium with an empty profile, on disk: its cache then holds compiled scripts, too."""
    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=chromium(), headless=True, args=BROWSER_FLAGS, viewport=viewport, **options
        )
        try:
            context.set_default_timeout(PATIENCE_MS)
            expect.set_options(timeout=PATIENCE_MS)
            yield context
        finally:
            context.close()


class LabNotebook:
    """One notebook open in JupyterLab or Notebook 7.

    Parameters
    ----------
    page
        The browser's page that shows it.
    name
        Its path from the server's root.
    """

    def __init__(self, page: Page, name: str) -> None:
        self.page = page
        self.name = name
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self._note(str(error)))

    def _note(self, problem: str) -> None:
        """Note an error of the page, unless anywidget says it of a model that is closed before it is made.

        After two seconds it does, to nobody: a view that should be there and is not fails a test by itself.
        """
        if "[anywidget] Failed to initialize model" not in problem:
            self.problems.append(problem)

    @classmethod
    def open(cls, context: BrowserContext, server: LabServer, name: str, front_end: FrontEnd = "lab") -> LabNotebook:
        """Open it in a page of its own, and wait for its kernel."""
        notebook = cls(context.new_page(), name)
        notebook.page.goto(server.notebook_url(name, front_end))
        notebook.wait_for_kernel()
        return notebook

    def wait_for_kernel(self, statuses: Sequence[str] = ("idle",)) -> None:
        """Wait until the notebook is connected to its kernel."""
        self.page.wait_for_function(
            """([name, statuses]) => {
                const app = window.jupyterapp;
                const panel = app && [...app.shell.widgets('main')].find(w => w.context?.path === name);
                const kernel = panel && panel.sessionContext.session && panel.sessionContext.session.kernel;
                if (!kernel || !statuses.includes(kernel.status)) return false;
                if (window.panel !== panel) {
                    window.panel = panel;
                    panel.sessionContext.iopubMessage.connect((_, message) => {
                        if (message.header.msg_type === 'execute_input') window.begun = message.content.code;
                    });
                }
                return true;
            }""",
            arg=[self.name, statuses],
            timeout=60_000,
        )

    def run(self, cell: int) -> None:
        """Run a cell; returns at once."""
        self.page.evaluate(
            """cell => {
                window.panel.content.activeCellIndex = cell;
                window.begun = null;
                window.jupyterapp.commands.execute('notebook:run-cell');
            }""",
            cell,
        )

    def begin(self, source: str) -> int:
        """Add a cell at the end and run it; returns at once with its number."""
        cell: int = self.page.evaluate(
            """source => {
                const notebook = window.panel.content.model.sharedModel;
                notebook.addCell({cell_type: 'code', source});
                return notebook.cells.length - 1;
            }""",
            source,
        )
        self.run(cell)
        return cell

    def execute(self, source: str) -> int:
        """Add a cell at the end and run it to its end; gives its number."""
        cell = self.begin(source)
        self.wait_until_run(cell)
        return cell

    def wait_until_run(self, cell: int, timeout: float = 30.0) -> None:
        """Wait until a cell has been executed."""
        self.page.wait_for_function(
            """cell => {
                const model = window.panel.content.widgets[cell].model.sharedModel;
                return model.execution_count !== null && model.executionState !== 'running';
            }""",
            arg=cell,
            timeout=timeout * 1000,
        )

    def wait_until_running(self, cell: int) -> None:
        """Wait until the kernel is busy with the cell that was run last.

        The kernel's status would not tell: of a kernel with subshells, it is that of whatever came last to an end.
        """
        self.page.wait_for_function(
            """cell => {
                const model = window.panel.content.widgets[cell].model.sharedModel;
                return model.executionState === 'running' && model.source === window.begun;
            }""",
            arg=cell,
        )

    def is_running(self, cell: int) -> bool:
        """Is the kernel busy with a cell?"""
        state: str = self.page.evaluate(
            "cell => window.panel.content.widgets[cell].model.sharedModel.executionState", cell
        )
        return state == "running"

    def interrupt(self) -> None:
        """Press the stop button."""
        self.page.evaluate("() => window.panel.sessionContext.session.kernel.interrupt()")

    def save(self) -> None:
        """Write it to its file."""
        self.page.evaluate("() => window.panel.context.save()")

    def reload(self) -> None:
        """Load the page again, the notebook saved; the kernel may be busy."""
        self.save()
        self.page.reload()
        self.wait_for_kernel(("idle", "busy"))

    def text(self, cell: int) -> str:
        """The plain text of a cell's outputs."""
        outputs = self.page.evaluate("cell => window.panel.content.widgets[cell].model.outputs.toJSON()", cell)
        parts = []
        for output in outputs:
            text = (
                output.get("text") or output.get("data", {}).get("text/plain") or "\n".join(output.get("traceback", []))
            )
            parts.append("".join(text))
        return "".join(parts)

    def saved(self, cell: int) -> str:
        """What the file would have of a cell's outputs, as JSON."""
        found: str = self.page.evaluate(
            "cell => JSON.stringify(window.panel.content.widgets[cell].model.outputs.toJSON())", cell
        )
        return found

    def wait_until_saved(self, cell: int, words: str) -> None:
        """Wait until the file would have these words in a cell's outputs."""
        self.page.wait_for_function(
            """([cell, words]) =>
                JSON.stringify(window.panel.content.widgets[cell].model.outputs.toJSON()).includes(words)""",
            arg=[cell, words],
        )

    def output(self, cell: int) -> Locator:
        """Where a cell's outputs are shown."""
        cells = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell")
        return cells.nth(cell).locator(".jp-Cell-outputArea")

    def record(self, selector: str) -> None:
        """From here on, keep with its time every text that an element of this kind ever shows."""
        self.page.evaluate(
            """selector => {
                window.seen = [];
                window.observer?.disconnect();
                const look = () => document.querySelectorAll(selector).forEach(node => {
                    const text = node.textContent.trim(), last = window.seen.at(-1);
                    if (text && (!last || last[0] !== text)) window.seen.push([text, performance.now()]);
                });
                window.observer = new MutationObserver(look);
                window.observer.observe(document.body, {childList: true, subtree: true, characterData: true});
                look();
            }""",
            selector,
        )

    def seen(self) -> list[tuple[str, float]]:
        """What :meth:`record` kept: texts with their time in milliseconds."""
        return [(text, at) for text, at in self.page.evaluate("() => window.seen")]


class Lab:
    """JupyterLab in one page of a browser; notebooks are opened in it one after the other."""

    def __init__(self, context: BrowserContext, server: LabServer) -> None:
        self.page = context.new_page()
        self.server = server
        self._open: LabNotebook | None = None
        self._made_of: tuple[str, Sequence[str], str] = "", [], ""
        self._in_use = False
        self.load()

    def load(self) -> None:
        """Load the page, with nothing open, no other page and no kernel running."""
        for page in self.page.context.pages:
            if page != self.page:
                page.close()
        self.server.shut_down_kernels()
        self._open = None
        self._in_use = False
        self.page.set_viewport_size(VIEWPORT)
        self.page.goto(self.server.url())
        self.page.wait_for_function("() => window.jupyterapp")
        self.page.evaluate("async () => { await window.jupyterapp.restored; window.isAsLoaded = true; }")

    def notebook(self, name: str, cells: Sequence[str], kernel: str = "python3") -> LabNotebook:
        """A notebook of these cells that is as if it were new: until :meth:`reset` is called, it is in use.

        The former one is taken if it was the same and is not in use; then its kernel has no executor and no name.
        """
        if self._in_use:  # and nobody says in which state
            self.load()
        if self._open is None or self._made_of != (name, cells, kernel):
            if self.page.evaluate("() => window.isAsLoaded"):
                self.close()
            else:  # a test has loaded the page again: JupyterLab may still be about to open what was open
                self.load()
            self._made_of = name, cells, kernel
            self.server.write_notebook(*self._made_of)
            self._command("docmanager:open", path=name)
            self._open = LabNotebook(self.page, name)
            self._open.wait_for_kernel()
            self._open.problems.clear()  # those of the former kernel's end: JupyterLab wants to tell it something
        self._in_use = True
        return self._open

    def reset(self) -> None:
        """Make the notebook that is open as it was when it was opened, but for the kernel's modules."""
        expect(self.page.locator(".jp-Dialog")).to_have_count(0)
        self.server.write_notebook(*self._made_of)
        self.page.evaluate(
            """async code => {
                await window.panel.context.revert();
                const kernel = window.panel.sessionContext.session.kernel;
                const reply = await kernel.requestExecute({code, store_history: false}).done;
                if (reply.content.status !== 'ok') throw new Error(JSON.stringify(reply.content));
            }""",
            RESET,
        )
        self._in_use = False

    def close(self) -> None:
        """Close the notebook that is open, and end its kernel."""
        if self._open is not None:
            self.page.evaluate("() => window.panel.dispose()")
            self.server.shut_down_kernels(self._open.name)
            self._open = None

    def use_theme(self, theme: str) -> None:
        """Show everything in :data:`LIGHT` or :data:`DARK`."""
        self._command("apputils:change-theme", theme=theme)
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-name", theme)

    def _command(self, command: str, **arguments: str) -> None:
        """Do what a menu would."""
        self.page.evaluate(
            "async ([name, args]) => { await window.jupyterapp.commands.execute(name, args); }", [command, arguments]
        )
