"""One click in real JupyterLab, confirmed by the real engine: while the kernel is idle, and while a cell waits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lab import LabNotebook
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CELLS = [
    "import os, time\n"
    "from scaler_notebook import NotebookExecutor\n"
    "ex = NotebookExecutor(n_workers=2)\n"
    "def work(seconds):\n"
    "    print('begun in process', os.getpid(), flush=True)\n"
    "    try: time.sleep(seconds)\n"
    "    except KeyboardInterrupt:\n"
    "        time.sleep(0.3)  # some cleaning up, which a person can see\n"
    "        raise\n"
    "    return 'slept'\n"
    "def refuses(seconds):\n"
    "    end = time.monotonic() + seconds\n"
    "    while time.monotonic() < end:\n"
    "        try: time.sleep(0.05)\n"
    "        except KeyboardInterrupt: print('no', flush=True)",
    "idle = ex.submit(work, 600)\nidle",
    "busy = ex.submit(work, 600)\nbusy",
    "try:\n    busy.result()\nexcept BaseException as error:\n    print(type(error).__name__, error)",
    "stubborn = ex.submit(refuses, 600)\nstubborn",
    "good = ex.submit(work, 0.2)\ngood",
]


def words(notebook: LabNotebook) -> list[str]:
    return [text for text, _ in notebook.seen()]


def test_a_click_while_the_kernel_is_idle(notebook: LabNotebook) -> None:
    notebook.run(1)
    card = notebook.output(1)
    expect(card.locator(".scaler-badge")).to_have_text("running")
    expect(card.locator(".scaler-output")).to_contain_text("begun")
    expect(card.locator(".scaler-usage")).to_contain_text(re.compile(r"^\d+ % CPU · [\d.]+ MB"))
    card.locator(".scaler-where").click()
    expect(card.locator(".scaler-stack pre")).to_have_text(re.compile(r"^In\[\d+\], line 6, in work: try: time.sleep"))
    notebook.record(".scaler-badge")
    card.locator(".scaler-cancel").click()
    expect(card.locator(".scaler-badge")).to_have_text("cancelled: stopped")
    for part in (".scaler-usage", ".scaler-stack"):
        expect(card.locator(part)).to_be_hidden()
    pid = card.locator(".scaler-output").inner_text().split("process ")[1].split()[0]
    assert not Path(f"/proc/{pid}").exists(), "the badge said cancelled while the process was there"
    assert words(notebook) == ["running", "cancelling…", "cancelled: stopped"]


def test_a_click_while_a_cell_waits_for_the_result(notebook: LabNotebook) -> None:
    notebook.run(2)
    card = notebook.output(2)
    expect(card.locator(".scaler-badge")).to_have_text("running")
    notebook.record(".scaler-badge")
    notebook.run(3)
    notebook.wait_until_running(3)
    card.locator(".scaler-cancel").click()
    expect(card.locator(".scaler-badge")).to_have_text("cancelled: stopped")
    notebook.wait_until_run(3)
    assert words(notebook) == ["running", "cancelling…", "cancelled: stopped"]
    assert notebook.text(3) == "TaskCancelledError work(600): stopped\n"


def test_a_task_that_refuses_is_said_to_run_and_can_be_killed(notebook: LabNotebook) -> None:
    notebook.run(4)
    card = notebook.output(4)
    expect(card.locator(".scaler-badge")).to_have_text("running")
    notebook.record(".scaler-badge")
    card.locator(".scaler-cancel").click()
    card.locator(".scaler-kill").click()
    killed = "cancelled: stopped (killed)"
    expect(card.locator(".scaler-badge")).to_have_text(killed)
    seen = words(notebook)
    assert seen[:3] == ["running", "cancelling…", "running"]
    assert seen[3:] in (["cancelling…", killed], [killed]), "a kill that is confirmed at once is painted as such"


def test_a_task_that_ends_shows_its_result_and_stays_in_the_notebook(notebook: LabNotebook) -> None:
    notebook.run(5)
    card = notebook.output(5)
    expect(card.locator(".scaler-badge")).to_have_text("done")
    expect(card.locator(".scaler-result")).to_have_text("'slept'str of 5 characters · 20 bytes")
    saved = notebook.saved(5)
    assert "'slept'" in saved
    assert "widget-view" not in saved
