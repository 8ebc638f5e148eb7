"""Where no browser and no kernel is: exported notebooks say how it ended, plain scripts import nothing of Jupyter."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from kernel_environments import LIBRARIES, python_of
from kernels import run_notebook
from shared_kernels import SharedKernel

CELLS = [
    "import time\nfrom scaler_notebook import NotebookExecutor\nex = NotebookExecutor(n_workers=2, grace=0.3)\n"
    "def work(n):\n"
    "    if n == 3: raise ValueError(f'model {n} does not converge')\n"
    "    print('fitted', n)\n"
    "    return n",
    "good = ex.submit(work, 1)\ngood",
    "bad = ex.submit(work, 3)\nbad",
    "slow = ex.submit(time.sleep, 600)\nslow",
    "while not slow.processor: time.sleep(0.01)  # it begins\nslow.cancel()",
    "group = ex.map_async(work, range(5))\ngroup",
    "group.wait(30)",
]
SAID = [
    ["done", "work(1)", "fitted 1"],
    ["failed", "work(3)", "ValueError: model 3 does not converge", "fut.retry() submits the same call again"],
    ["cancelled: stopped", "sleep(600)", "fut.retry() submits the same call again"],
    ["4 done · 1 failed", "work(3)", "ValueError: model 3 does not converge"],
]
SCRIPT = """
import sys, time
from scaler_notebook import NotebookExecutor
if __name__ == "__main__":
    with NotebookExecutor(n_workers=1, grace=0.3) as ex:
        future, other = ex.submit(time.sleep, 600), ex.submit(abs, -1)
        print(future.cancel(), other.result(30))
    wrong = {"IPython", "ipywidgets", "anywidget", "ipykernel", "traitlets"} & set(sys.modules)
    print(sorted(wrong))
"""


class Words(HTMLParser):
    """What a person reads on a page without scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self._silent = False
        self._parts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._parts.append(data)

    def __str__(self) -> str:
        return " ".join(" ".join(self._parts).split())


def test_an_exported_notebook_says_how_it_ended(shared_kernel: SharedKernel, tmp_path: Path) -> None:
    import nbformat
    from nbconvert import HTMLExporter

    with shared_kernel.lent() as k:
        executed = run_notebook(k, CELLS)
    nbformat.write(executed, tmp_path / "page.ipynb")
    for notebook in (executed, nbformat.read(tmp_path / "page.ipynb", as_version=4)):
        page, _ = HTMLExporter().from_notebook_node(notebook)
        said = str(Words(page))
        for part in (part for parts in SAID for part in parts):
            assert part in said, f"the page does not say {part!r}"
        for wrong in ("running", "queued", "%scaler cancel"):
            assert wrong not in said, f"the page says {wrong!r} of what has ended"


def test_what_runs_when_the_notebook_is_saved_is_told_without_its_kernel(shared_kernel: SharedKernel) -> None:
    with shared_kernel.lent() as k:
        executed = run_notebook(
            k,
            [
                CELLS[0],
                "slow = ex.submit(time.sleep, 600)\nslow",
                "group = ex.map_async(time.sleep, [600] * 3)\ngroup",
                "while not (slow.processor and any(future.processor for future in group)): time.sleep(0.01)\n"
                "ex.engine_status()  # answered behind all that the views are told",
            ],
        )
    for cell, said in ((1, "running"), (2, "1 running · 2 queued")):
        (output,) = executed.cells[cell].outputs
        assert "application/vnd.jupyter.widget-view+json" not in output["data"]
        assert said in str(Words(output["data"]["text/html"]))


def test_a_plain_script_imports_nothing_of_jupyter(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (0, "True 1\n[]\n"), done.stderr


MARIMO_NOTEBOOK = """
import marimo
app = marimo.App()

@app.cell
def _():
    from scaler_notebook import NotebookExecutor
    ex = NotebookExecutor(n_workers=2, grace=0.3)
    slow = ex.submit(__import__("time").sleep, 600)
    slow
    return ex, slow

@app.cell
def _(ex):
    many = ex.map_async(abs, range(5))
    many
    return (many,)

@app.cell
def _(slow):
    print("confirmed:", slow.cancel())
    return
"""


@pytest.mark.matrix
@pytest.mark.timeout(900)
def test_marimo_shows_live_views_and_its_cells_may_wait(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text(MARIMO_NOTEBOOK)
    command = [str(python_of(LIBRARIES)), "-m", "marimo", "export", "html", "page.py", "-o", "page.html"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert "confirmed: True" in done.stdout + done.stderr, done.stderr  # marimo prints what cells print on the latter
    assert (tmp_path / "page.html").read_text().count("marimo-anywidget data-") == 2
