"""Where no browser and no kernel is: exported notebooks say how it ended, plain scripts import nothing of Jupyter."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

CELLS = [
    "import time\nfrom scaler_notebook import NotebookExecutor\nex = NotebookExecutor(n_workers=2, grace=0.3)\n"
    "def work(n):\n"
    "    if n == 3: raise ValueError(f'model {n} does not converge')\n"
    "    print('fitted', n)\n"
    "    return n",
    "good = ex.submit(work, 1)\ngood",
    "bad = ex.submit(work, 3)\nbad",
    "slow = ex.submit(time.sleep, 600)\nslow",
    "slow.cancel()",
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


def run(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=directory, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("steps", [["html"], ["notebook", "html"]], ids=["executed", "saved before"])
def test_an_exported_notebook_says_how_it_ended(tmp_path: Path, steps: list[str]) -> None:
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbformat.write(notebook, tmp_path / "page.ipynb")
    execute = ["--execute"]
    for to in steps:
        run(tmp_path, "-m", "nbconvert", "--to", to, *execute, "--output", "page", "page.ipynb")
        execute = []
    said = str(Words((tmp_path / "page.html").read_text("utf-8")))
    for part in (part for parts in SAID for part in parts):
        assert part in said, f"the page does not say {part!r}"
    for wrong in ("running", "queued", "%scaler cancel"):
        assert wrong not in said, f"the page says {wrong!r} of what has ended"


def test_a_plain_script_imports_nothing_of_jupyter(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    assert run(tmp_path, "script.py") == "True 1\n[]\n"
