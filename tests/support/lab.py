"""JupyterLab, Notebook 7 and Voilà as their users have them: a real server, a real browser, and hands to click with."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from kernel_environments import HOME as KERNELS
from kernel_environments import VERSIONS
from playwright.sync_api import BrowserContext, Locator, Page, expect, sync_playwright

FrontEnd = Literal["lab", "notebook", "voila"]
PATHS: dict[FrontEnd, str] = {"lab": "lab/tree", "notebook": "notebooks", "voila": "voila/render"}
START_TIMEOUT = 60.0  # seconds; a cold JupyterLab on a busy machine takes ten
PATIENCE_MS = 20_000
BROWSER_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str:
    """Where Chromium is; an error that says what to do if it is nowhere."""
    named = os.environ.get("CHROMIUM")
    for name in (named, "chromium", "chromium-browser", "google-chrome"):
        if name and (path := shutil.which(name)):
            return path
    raise RuntimeError("no Chromium found: install it (Debian: apt-get install chromium) or set CHROMIUM to its path")


class LabServer:
    """A JupyterLab server with directories of its own; Notebook 7 and Voilà are extensions of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.notebooks = home / "notebooks"
        self.notebooks.mkdir(parents=True)
        self.token = secrets.token_hex(8)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = open(home / "lab.log", "wb")  # noqa: SIM115  # closed with the server
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.set("notification", {"fetchNews": "false", "checkForUpdates": False})
        environment = {
            **os.environ,
            "JUPYTER_PATH": os.pathsep.join(str(KERNELS / version / "share" / "jupyter") for version in VERSIONS),
            "JUPYTER_CONFIG_DIR": str(self.home / "config"),
            "JUPYTER_DATA_DIR": str(self.home / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.home / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(self.home / "settings"),
            "IPYTHONDIR": str(self.home / "ipython"),
        }
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                f"--port={self.port}",
                "--ServerApp.port_retries=0",
                f"--IdentityProvider.token={self.token}",
                f"--ServerApp.root_dir={self.notebooks}",
                "--LabApp.expose_app_in_browser=True",
                "--JupyterNotebookApp.expose_app_in_browser=True",
                "--LabApp.news_url=None",
                "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            ],
            env=environment,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            with contextlib.suppress(OSError):
                self.api("GET", "/api/status")
                return
            if time.monotonic() > deadline or self.process.poll() is not None:
                text = (self.home / "lab.log").read_text(errors="replace")[-3000:]
                raise RuntimeError(f"JupyterLab did not start:\n{text}")
            time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None:
            with contextlib.suppress(OSError):
                self.shut_down_kernels()
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def set(self, plugin: str, values: dict[str, Any]) -> None:
        """Change JupyterLab's settings for pages opened from here on.

        Parameters
        ----------
        plugin
            One of ``@jupyterlab/apputils-extension``.
        """
        settings = self.home / "settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / f"{plugin}.jupyterlab-settings").write_text(json.dumps(values))

    def api(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            text = response.read()
        return json.loads(text) if text else None

    def shut_down_kernels(self) -> None:
        for session in self.api("GET", "/api/sessions"):
            self.api("DELETE", f"/api/sessions/{session['id']}")

    def write_notebook(self, name: str, cells: Sequence[str], kernel: str = "python3") -> None:
        document = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}},
            "cells": [
                {
                    "id": f"cell-{number}",
                    "cell_type": "code",
                    "source": source,
                    "metadata": {},
                    "outputs": [],
                    "execution_count": None,
                }
                for number, source in enumerate(cells)
            ],
        }
        (self.notebooks / name).write_text(json.dumps(document))

    def url(self, name: str, front_end: FrontEnd = "lab") -> str:
        return f"http://127.0.0.1:{self.port}/{PATHS[front_end]}/{name}?token={self.token}&reset"


@contextlib.contextmanager
def browser() -> Iterator[BrowserContext]:
    """A headless Chromium with an empty profile."""
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium(), headless=True, args=BROWSER_FLAGS)
        try:
            context = chrome.new_context(viewport={"width": 1200, "height": 900})
            context.set_default_timeout(PATIENCE_MS)
            expect.set_options(timeout=PATIENCE_MS)
            yield context
        finally:
            chrome.close()


class LabNotebook:
    """One notebook open in JupyterLab or Notebook 7."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    @classmethod
    def open(cls, context: BrowserContext, server: LabServer, name: str, front_end: FrontEnd = "lab") -> LabNotebook:
        notebook = cls(context.new_page())
        notebook.page.goto(server.url(name, front_end))
        notebook.wait_for_kernel()
        return notebook

    def wait_for_kernel(self, statuses: Sequence[str] = ("idle",)) -> None:
        """Wait until the notebook is connected to its kernel."""
        self.page.wait_for_function(
            """statuses => {
                const app = window.jupyterapp;
                const panel = app && [...app.shell.widgets('main')].find(w => w.sessionContext);
                const kernel = panel && panel.sessionContext.session && panel.sessionContext.session.kernel;
                if (!kernel || !statuses.includes(kernel.status)) return false;
                window.panel = panel;
                return true;
            }""",
            arg=statuses,
            timeout=60_000,
        )

    def run(self, cell: int) -> None:
        """Run a cell; returns at once."""
        self.page.evaluate(
            """cell => {
                window.panel.content.activeCellIndex = cell;
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
        """Wait until the kernel is busy with a cell."""
        self.page.wait_for_function(
            """cell => window.panel.content.widgets[cell].model.sharedModel.executionState === 'running'
                && window.panel.sessionContext.session.kernel.status === 'busy'""",
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

    def reload(self) -> None:
        """Load the page again, the notebook saved; the kernel may be busy."""
        self.page.evaluate("() => window.panel.context.save()")
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

    def output(self, cell: int) -> Locator:
        """Where a cell's outputs are shown."""
        return self.page.locator(".jp-Cell").nth(cell).locator(".jp-Cell-outputArea")

    def record(self, selector: str) -> None:
        """From here on, keep with its time every text that an element of this kind ever shows."""
        self.page.evaluate(
            """selector => {
                window.seen = [];
                const look = () => document.querySelectorAll(selector).forEach(node => {
                    const text = node.textContent.trim(), last = window.seen.at(-1);
                    if (text && (!last || last[0] !== text)) window.seen.push([text, performance.now()]);
                });
                new MutationObserver(look).observe(document.body,
                    {childList: true, subtree: true, characterData: true});
                look();
            }""",
            selector,
        )

    def seen(self) -> list[tuple[str, float]]:
        """What :meth:`record` kept: texts with their time in milliseconds."""
        return [(text, at) for text, at in self.page.evaluate("() => window.seen")]
