"""Run the quickstart notebook in a real kernel and say what happens while it happens (`make demo`)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

import nbformat
from jupyter_core.utils import ensure_async
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter

NOTEBOOK = Path(__file__).with_name("quickstart.ipynb")
OUTPUT = NOTEBOOK.parent.parent / "output"
LOG_VARIABLE = "SCALER_NOTEBOOK_LOG"
CELL_TIMEOUT = 600
COLOURS = {"started": "34", "finished": "32", "failed": "31", "cancel requested": "33", "cancelled": "35"}


class Console:
    """Writes one line at a time, each with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.time()
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    @property
    def elapsed(self) -> float:
        return time.time() - self._start

    def line(self, text: str, colour: str | None = None, at: float | None = None) -> None:
        stamp = self.elapsed if at is None else at - self._start
        if colour and self._colour:
            text = f"\033[{colour}m{text}\033[0m"
        print(f"{stamp:6.1f} s  {text}", flush=True)


class TaskLog:
    """Follows the file to which the kernel's executor writes one JSON line per task event."""

    def __init__(self, path: Path, console: Console) -> None:
        self.counts: Counter[str] = Counter()
        self.confirmed = 0
        self._path = path
        self._console = console
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="task log", daemon=True)

    def __enter__(self) -> TaskLog:
        self._path.touch()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _follow(self) -> None:
        with self._path.open(encoding="utf-8") as file:
            rest = ""
            while True:
                last = self._ended.is_set()
                *lines, rest = (rest + file.read()).split("\n")
                for line in lines:
                    self._report(json.loads(line))
                if last:
                    return
                self._ended.wait(0.05)

    def _report(self, record: dict[str, Any]) -> None:
        event, detail = record["event"], record.get("detail") or ""
        self.counts[event] += 1
        if event == "submitted":
            return
        if event == "cancelled" and "TaskCancelConfirm" in detail:
            self.confirmed += 1
        text = f"    task  {event:<16}  {record['call']}"
        self._console.line(f"{text}  ({detail})" if detail else text, COLOURS.get(event), record["time"])


class Interrupted(Exception):
    """Ctrl-C, or a request to terminate."""


def title(cell: nbformat.NotebookNode) -> str:
    """The first line of a cell's code that says something."""
    lines = [line for line in cell.source.splitlines() if line and not line.startswith(("import ", "from "))]
    return lines[0] if lines else ""


async def execute(notebook: nbformat.NotebookNode, console: Console) -> None:
    """Run every cell in a fresh kernel; Ctrl-C ends the run and the kernel with it."""
    numbers = {
        index: number
        for number, index in enumerate((i for i, c in enumerate(notebook.cells) if c.cell_type == "code"), 1)
    }
    began: dict[int, float] = {}

    def on_start(cell: nbformat.NotebookNode, cell_index: int) -> None:
        if interrupts:
            raise Interrupted
        if cell_index in numbers:
            began[cell_index] = console.elapsed
            console.line(f"cell {numbers[cell_index]:>2}/{len(numbers)}  {title(cell)}", "1")

    def on_executed(cell: nbformat.NotebookNode, cell_index: int, execute_reply: dict[str, Any]) -> None:
        status, took = execute_reply["content"]["status"], console.elapsed - began[cell_index]
        console.line(f"cell {numbers[cell_index]:>2}/{len(numbers)}  {status}, {took:.2f} s")

    def on_signal() -> None:
        # The first one interrupts the cell, after which the kernel can end in good order; the second insists.
        interrupts.append(loop.create_task(interrupt()))
        if len(interrupts) > 1:
            task.cancel()

    async def interrupt() -> None:
        if client.km is not None:
            await ensure_async(client.km.interrupt_kernel())

    def on_notebook_start(notebook: nbformat.NotebookNode) -> None:
        # In place of nbclient's own handlers, which take the kernel away from under the running cell.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal)

    interrupts: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    task = cast("asyncio.Task[None]", asyncio.current_task())
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
        on_notebook_start=on_notebook_start,
        on_cell_start=on_start,
        on_cell_executed=on_executed,
    )
    try:
        await client.async_execute()
    except (CellExecutionError, DeadKernelError, asyncio.CancelledError):
        if interrupts:
            raise Interrupted from None
        raise


def save(notebook: nbformat.NotebookNode) -> list[Path]:
    OUTPUT.mkdir(exist_ok=True)
    executed, page = OUTPUT / NOTEBOOK.name, OUTPUT / f"{NOTEBOOK.stem}.html"
    nbformat.write(notebook, executed)
    html, _ = HTMLExporter().from_notebook_node(notebook, {"metadata": {"name": NOTEBOOK.stem}})
    page.write_text(html, encoding="utf-8")
    return [executed, page]


def shown(notebook: nbformat.NotebookNode, cell_id: str) -> str:
    """What a cell's value reads as in the executed notebook."""
    outputs = next(cell.outputs for cell in notebook.cells if cell.id == cell_id)
    return "".join(output.data.get("text/plain", "") for output in outputs if "data" in output)


def verdict(log: TaskLog, notebook: nbformat.NotebookNode) -> str | None:
    """What the run did not show, if anything: it is a demonstration of a confirmed cancel."""
    if shown(notebook, "cancel") != "True":
        return "cancel() did not return True"
    if not log.confirmed:
        return "no task was cancelled with its confirmation"
    if not log.counts["finished"]:
        return "no task finished"
    if log.counts["failed"]:
        return "a task failed"
    return None


def main() -> int:
    console = Console()
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    problem: str | None = None
    with tempfile.TemporaryDirectory(prefix="scaler-notebook-demo-") as directory:
        path = Path(directory) / "tasks.jsonl"
        os.environ[LOG_VARIABLE] = str(path)
        with TaskLog(path, console) as log:
            console.line(f"running {NOTEBOOK.name}")
            try:
                asyncio.run(execute(notebook, console))
            except Interrupted:
                console.line("interrupted; the kernel has been shut down")
                return 130
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                problem = str(error)
    if problem:
        print(f"\nThe notebook failed.\n\n{problem}", file=sys.stderr)
    else:
        problem = verdict(log, notebook)
        if problem:
            print(f"\nThe notebook ran to its end, but {problem}.", file=sys.stderr)
    counts = log.counts
    print(
        f"\n{counts['submitted']} tasks submitted: {counts['finished']} finished, "
        f"{counts['cancelled']} cancelled ({log.confirmed} confirmed by the engine), "
        f"{counts['failed']} failed. {console.elapsed:.1f} s in all."
    )
    for written in save(notebook):
        print(f"written: {written}")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
