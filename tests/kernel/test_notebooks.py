"""The notebooks that we ship run to their end, and show what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from scaler_notebook.notebook.magics.commands import COMMANDS

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def executed(name: str) -> Any:
    """As a user does it, without a browser: this is what ``jupyter nbconvert --execute`` does."""
    import nbclient
    import nbformat  # here: it parses grammars for seconds when it is loaded

    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    return nbclient.execute(notebook, cwd=str(NOTEBOOKS), timeout=110, kernel_name="python3")


def said(cell: Any) -> str:
    """Its text, and the plain form of what it displays."""
    return "".join(out.get("text", "") or out.get("data", {}).get("text/plain", "") for out in cell.outputs)


def test_magics_uses_every_command_on_real_data(jupyter_client_is_warm: None) -> None:
    notebook = executed("magics.ipynb")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    used = set(re.findall(r"(?<!%)%scaler (\w+)", "\n".join(cell.source for cell in code)))
    assert used == set(COMMANDS)
    by_start = {cell.source.split("\n")[0]: said(cell) for cell in code}
    assert "late('YV') has raised nothing here" in by_start["%scaler debug late"]
    assert "13.1% of United's flights" in by_start['united = %scaler submit late(flights, "UA", minutes=30)']
    assert "16 done" in by_start['carriers = sorted(flights["carrier"].unique())']
    assert "begins at 19:00" in "".join(by_start.values())
    figure = next(cell for cell in code if cell.source.startswith("%%scaler --out by_hour"))
    assert "data:image/png;base64" in figure.outputs[0]["data"]["text/html"]
    assert "cancelled: stopped" in by_start["%scaler cancel bootstrap --force"]
    assert re.search(r"\d running, \d queued", by_start["%scaler status"])
    assert "line 3, in <module>" in by_start["%%scaler"]
    assert "['KeyError']" in by_start["_.exception()  # it has failed when this returns"]


@pytest.mark.matrix
def test_graphs_says_the_same_as_pandas(jupyter_client_is_warm: None) -> None:
    notebook = executed("graphs.ipynb")
    by_start = {cell.source.split("\n")[0]: said(cell) for cell in notebook.cells if cell.cell_type == "code"}
    assert "7 done" in by_start["def of(flights: pd.DataFrame, airport: str) -> pd.DataFrame:"]
    assert re.search(r"SkyWest Airlines Inc\. +20\.8 +NaN +NaN", by_start['futures["report"].result()'])
    failed = by_start["def checked(flights: pd.DataFrame, airport: str) -> pd.DataFrame:"]
    assert failed.startswith("no flight begins at JFX\nIt was raised by JFK = checked(flights, JFK?)")
    nested = by_start["def bisect(flights: pd.DataFrame, rows: int) -> float:"]
    assert "left 1126 minutes late; plainly: 1126" in nested
    assert "[3, 0, 3] {'bytes': b'\\x00\\x00\\x00'}" in by_start["with Client(ex.address) as client:"]
    assert "'EWR': 117596" in by_start["delays = [ex.submit(of, table, airport).then(len) for airport in airports]"]
