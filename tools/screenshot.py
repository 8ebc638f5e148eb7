"""Takes the pages' pictures from the real thing: cards, a board and an engine in JupyterLab, both themes and widths."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import FloatRect, Page, expect

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support" / name) for name in ("common", "notebooks")]

from lab import LabNotebook, browser  # noqa: E402
from lab_server import LabServer  # noqa: E402

SETUP = """
import random, time
from scaler_notebook import NotebookExecutor, progress
ex = NotebookExecutor(n_workers=4)
def fit(airline, resamples):
    print(f"{airline}: 48,110 flights, mean delay 9.4 min", flush=True)
    if airline == "OO": raise ValueError("too few flights of OO: 29")
    for i in progress(range(resamples), note="resamples"): time.sleep(0.002)
    return {"airline": airline, "slope": 1.02}
def score(fold):
    for i in progress(range(100), note="epochs"): time.sleep((0.2 + fold % 7) / 200)
    if fold % 19 == 11: raise ArithmeticError(f"fold {fold} does not converge")
    return fold
held, few = ex.submit(fit, "DL", 100_000), ex.submit(fit, "OO", 10)
while not held.logs.stdout: time.sleep(0.01)
held.cancel(); few.exception()
"""
CARDS = "ua = ex.submit(fit, 'UA', 5_000)\ndisplay(ua, few.widget(), held.widget())"
BOARD = "ex.cancel_all()\nboard = ex.map_async(score, range(60))\nboard"
ENGINE = (
    "board.cancel()\ndef add(n):\n    squares = []\n    for i in range(n): squares.append(i * i)\n"
    "    return sum(squares)\n"
    "sums = ex.map_async(add, [8_000_000 + 1_000_000 * n for n in range(40)], name='sums')\nex"
)
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}


def take(page: Page, selector: str, path: Path) -> None:
    """The part of the page from the first to the last of what a selector finds."""
    boxes = [box for each in page.locator(selector).all() if (box := each.bounding_box())]
    left, top = min(box["x"] for box in boxes), min(box["y"] for box in boxes)
    right, bottom = max(box["x"] + box["width"] for box in boxes), max(box["y"] + box["height"] for box in boxes)
    clip: FloatRect = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    page.screenshot(path=path, clip=clip)
    Image.open(path).convert("RGB").quantize(224).save(path, optimize=True)  # a third of the size


def show(notebook: LabNotebook, folder: Path, name: str) -> None:
    """Run the notebook, and take its cards, its board and its engine."""
    page = notebook.page
    page.evaluate("() => { const s = window.jupyterapp.shell; s.collapseLeft(); s.collapseRight(); }")
    notebook.run(0)
    notebook.wait_until_run(0)
    notebook.run(1)
    expect(page.locator(".scaler-card .scaler-amount").first).to_contain_text("left")
    take(page, ".scaler-card", folder / f"card-{name}.png")
    notebook.run(2)
    board = page.locator(".scaler-board")
    expect(board.locator(".scaler-chip[data-kind=failed]")).to_contain_text("1 failed")
    board.get_by_role("grid").get_by_title("score(11)").click()
    expect(board.locator(".scaler-pane .scaler-error")).to_contain_text("converge")
    page.mouse.move(0, 0)
    board.scroll_into_view_if_needed()
    take(page, ".scaler-board", folder / f"board-{name}.png")
    notebook.run(3)
    engine = page.locator(".scaler-engine")
    line = engine.locator("polyline").first
    expect(line).to_have_attribute("points", re.compile(r"(\S+ ){12}"), timeout=30_000)
    engine.scroll_into_view_if_needed()
    take(page, ".scaler-engine", folder / f"engine-{name}.png")


def main(folder: Path) -> None:
    server = LabServer(Path(tempfile.mkdtemp()))
    try:
        server.start()
        server.write_notebook("flights.ipynb", [SETUP, CARDS, BOARD, ENGINE])
        for name, theme in THEMES.items():
            server.set("themes", {"theme": theme})
            for width in (760, 400):
                with browser({"width": width + 130, "height": 1000}, device_scale_factor=2) as context:
                    notebook = LabNotebook.open(context, server, "flights.ipynb")
                    show(notebook, folder, name if width == 760 else f"{name}-400")
                server.shut_down_kernels()
    finally:
        server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs")
