"""Takes the README's screenshot from the real thing: the demo notebook, in JupyterLab, while United's task runs."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from lab import LabNotebook, LabServer, browser  # noqa: E402


def main() -> None:
    cells = json.loads((ROOT / "notebooks" / "quickstart.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    setup = [source for source in code if "submit" not in source][:4]
    submit = next(source for source in code if "resamples[" in source)
    shown = [
        f"{submit}\n\nfutures['UA']",
        "wrong = ex.submit(fit, 'OO', groups['AA'], resamples='1000')\ndelta = futures['DL']\ndelta.cancel()\n"
        "display(delta, wrong)",
        "futures['OO'].result()  # the cell waits; the buttons work",
    ]
    server = LabServer(Path(tempfile.mkdtemp()))
    try:
        server.start()
        server.write_notebook("flights.ipynb", ["\n".join(setup).replace("%load_ext scaler_notebook", ""), *shown])
        with browser() as context:
            notebook = LabNotebook.open(context, server, "flights.ipynb")
            page = notebook.page
            page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
            notebook.run(0)
            notebook.wait_until_run(0, 120)
            for cell in (1, 2):
                notebook.run(cell)
                notebook.wait_until_run(cell)
            notebook.run(3)
            notebook.output(1).get_by_text("of 10,000,000 resamples").first.wait_for()
            page.wait_for_timeout(6000)  # a picture with some time on its clock
            page.set_viewport_size({"width": 1000, "height": 700})
            page.locator(".jp-Cell").nth(1).evaluate("cell => cell.scrollIntoView({block: 'start'})")
            page.wait_for_timeout(500)
            page.screenshot(path=ROOT / "docs" / "card.png", clip={"x": 38, "y": 92, "width": 924, "height": 500})
    finally:
        server.stop()


if __name__ == "__main__":
    main()
