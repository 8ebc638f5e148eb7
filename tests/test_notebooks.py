"""The notebooks that we ship run to their end, and show what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat

from scaler_notebook.notebook.commands import COMMANDS

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def executed(name: str, directory: Path) -> Any:
    """As a user does it, without a browser."""
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--log-level=ERROR"]
    subprocess.run([*command, f"--output-dir={directory}", str(NOTEBOOKS / name)], check=True, timeout=110)
    return nbformat.read(directory / name, as_version=4)


def said(cell: Any) -> str:
    """Its text, and the plain form of what it displays."""
    return "".join(out.get("text", "") or out.get("data", {}).get("text/plain", "") for out in cell.outputs)


def test_magics_uses_every_command_on_real_data(tmp_path: Path) -> None:
    notebook = executed("magics.ipynb", tmp_path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    used = set(re.findall(r"(?<!%)%scaler (\w+)", "\n".join(cell.source for cell in code)))
    assert used == set(COMMANDS)
    by_start = {cell.source.split("\n")[0]: said(cell) for cell in code}
    assert "13.1% of United's flights" in by_start['united = %scaler submit late(flights, "UA", minutes=30)']
    assert "16 done" in by_start['carriers = sorted(flights["carrier"].unique())']
    assert "begins at 19:00" in "".join(by_start.values())
    figure = next(cell for cell in code if cell.source.startswith("%%scaler --out by_hour"))
    assert "data:image/png;base64" in figure.outputs[0]["data"]["text/html"]
    assert "cancelled (stopped)" in by_start["%scaler cancel bootstrap --force"]
    assert re.search(r"\d running, \d queued", by_start["%scaler status"])
    assert "line 3, in <module>" in by_start["%%scaler"]
    assert "['KeyError']" in by_start["time.sleep(0.5)"]
