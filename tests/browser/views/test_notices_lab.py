"""The end of a view is told to who looks elsewhere, and a chip leads to what runs out of sight, in JupyterLab."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab import LabNotebook
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.matrix]

CELLS = [
    "import os\n%load_ext scaler_notebook\nfrom scaler_notebook import NotebookExecutor\n"
    "ex = NotebookExecutor(n_workers=2)\n"
    "def read(pipe):\n    with open(pipe) as file: return file.read()\n",
    "%scaler config notify=0.001 notify_sound=on",
    "os.path.exists(GATE) or os.mkfifo(GATE)\nfuture = ex.submit(read, GATE)\nfuture",
    *["print('\\n' * 30)"] * 12,
]
STUBS = """() => {
    window.told = []; window.tones = 0;
    window.Notification = class {
        static permission = "granted";
        constructor(title, { body }) { this.words = [title, body]; window.told.push(this); }
        close() { this.closed = true; }
    };
    window.OscillatorNode = class { connect(next) { return next; } start() { window.tones++; } stop() {} };
    window.GainNode = class { connect(next) { return next; } };
    document.hasFocus = () => !window.elsewhere;
}"""
BACK = "() => { window.elsewhere = false; window.told[0].onclick(); window.dispatchEvent(new Event('focus')); }"


def test_who_looks_elsewhere_is_told_of_the_end(notebook: LabNotebook, tmp_path: Path) -> None:
    page, gate = notebook.page, tmp_path / "gate"
    page.evaluate(STUBS)
    notebook.execute(f"GATE = {str(gate)!r}")
    for cell in range(1, len(CELLS)):
        notebook.run(cell)
        notebook.wait_until_run(cell)
    expect(notebook.output(1).locator(".scaler-notices")).to_contain_text("0.001 s or longer")
    card, chip = page.locator(".scaler-card"), page.locator(".scaler-away")
    expect(card).not_to_be_in_viewport()
    expect(chip).to_have_text("1 running")
    chip.click()
    expect(card).to_be_in_viewport()
    expect(chip).to_be_hidden()

    page.evaluate("() => { window.elsewhere = true; }")
    notebook.output(len(CELLS) - 1).scroll_into_view_if_needed()
    gate.write_text("seen")
    page.wait_for_function("() => window.told.length === 1 && window.tones === 1")
    assert page.title() == "✓ done"
    page.evaluate("() => { document.title = 'page.ipynb'; document.title += ' *'; }")  # as JupyterLab does
    expect(page).to_have_title("✓ done")
    about, words = page.evaluate("() => window.told[0].words")
    assert about.startswith("read(")
    assert words == "done"
    page.evaluate(BACK)
    expect(card).to_be_in_viewport()
    expect(page).to_have_title("page.ipynb *")
    notebook.execute("%scaler config notify=0 notify_sound=off")

    cell = notebook.execute("group = ex.map_async(read, [GATE], name='fits')\ngroup")
    bell = notebook.output(cell).get_by_role("button", name="Notify me")
    bell.click()
    expect(bell).to_have_attribute("aria-pressed", "true")
    page.evaluate("() => { window.elsewhere = true; }")
    gate.write_text("seen")
    page.wait_for_function("() => window.told.length === 2")
    assert page.evaluate("() => window.told[1].words") == ["fits", "1 done"]
    expect(page).to_have_title("✓ 1 done")
    expect(bell).to_be_hidden()
    page.evaluate(BACK)
    expect(page).not_to_have_title("✓ 1 done")
