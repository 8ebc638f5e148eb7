"""A JupyterLab server, of which Notebook 7 and Voilà are extensions: its start, its settings and its files."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from kernel_environments import HOME as KERNELS
from kernel_environments import LIBRARIES, VERSIONS, kernel_name
from ports import free_port

FrontEnd = Literal["lab", "notebook", "voila"]
PATHS: dict[FrontEnd, str] = {"lab": "lab/tree", "notebook": "notebooks", "voila": "voila/render"}
START_TIMEOUT = 60.0  # seconds; a cold JupyterLab on a busy machine takes ten


class LabServer:
    """A JupyterLab server with directories of its own.

    Parameters
    ----------
    home
        Where its settings, its log and the notebooks that it serves lie.
    python
        The Python of the environment that it is of.
    """

    def __init__(self, home: Path, python: str = sys.executable) -> None:
        self.home = home
        self.python = python
        self.notebooks = home / "notebooks"
        self.notebooks.mkdir(parents=True)
        self.token = secrets.token_hex(8)
        self.port = free_port()
        self.log = open(home / "lab.log", "wb")  # noqa: SIM115  # closed with the server
        self.process: subprocess.Popen[bytes] | None = None

    def _others_kernels(self) -> Path:
        """A directory with the kernels of the other environments, made or not, and nothing else of them.

        Their extensions of JupyterLab may be of other versions than what is beside the tests.
        """
        directory = self.home / "others"
        (directory / "kernels").mkdir(parents=True, exist_ok=True)
        for version in (*VERSIONS, LIBRARIES):
            name = kernel_name(version)
            link = directory / "kernels" / name
            if not link.is_symlink():
                link.symlink_to(KERNELS / version / "share" / "jupyter" / "kernels" / name)
        return directory

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.set("notification", {"fetchNews": "false", "checkForUpdates": False})
        environment = {
            **os.environ,
            "JUPYTER_PATH": str(self._others_kernels()),
            "JUPYTER_CONFIG_DIR": str(self.home / "config"),
            "JUPYTER_DATA_DIR": str(self.home / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.home / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(self.home / "settings"),
        }
        self.process = subprocess.Popen(
            [
                *(self.python, "-m", "jupyterlab", "--no-browser", "--allow-root"),
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
            cwd=self.home,  # where some extensions keep a database
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
        """End its kernels and it."""
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
        """What its REST interface answers to a request."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            text = response.read()
        return json.loads(text) if text else None

    def shut_down_kernels(self, notebook: str | None = None) -> None:
        """End the kernel of a notebook, or of all."""
        for session in self.api("GET", "/api/sessions"):
            if notebook in (None, session["path"]):
                self.api("DELETE", f"/api/sessions/{session['id']}")

    def write_notebook(self, name: str, cells: Sequence[str], kernel: str = "python3") -> None:
        """Make a notebook of code cells that have not been run."""
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

    def url(self, path: str = "lab") -> str:
        """Where the server shows something; JupyterLab with nothing open, if nothing else is said."""
        return f"http://127.0.0.1:{self.port}/{path}?token={self.token}&reset"

    def notebook_url(self, name: str, front_end: FrontEnd = "lab") -> str:
        """Where a notebook is opened."""
        return self.url(f"{PATHS[front_end]}/{name}")
