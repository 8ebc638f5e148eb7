"""What views cost: ``python benchmarks/views.py [tasks]`` (10,000 unless told otherwise; needs Chromium).

A board of that many tasks in JupyterLab, beside the plain ipywidgets way: an HTML and a Button for each task. Every
figure is of one run; the ratio counts, for machines differ. CPU seconds are the kernel's own.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
sys.path[:0] = [str(SUPPORT / name) for name in ("common", "notebooks")]

from lab import LabNotebook, browser  # noqa: E402
from lab_server import LabServer  # noqa: E402

PLAIN_TASKS = 1_000  # the plain way is not waited for with more
CLICKS = 10

SETUP = """
import json, sys, threading, time
import ipywidgets
%load_ext scaler_notebook
from scaler_notebook import NotebookExecutor
from scaler_notebook.notebook.views.board import display as board_display
from scaler_notebook.notebook.views.publisher import publisher
sent = [0, 0]
session = get_ipython().kernel.session
send = session.send
def counted(stream, msg_or_type, *args, **kwargs):
    message = send(stream, msg_or_type, *args, **kwargs)
    kind = msg_or_type if isinstance(msg_or_type, str) else msg_or_type.get("msg_type", "")
    if kind.startswith("comm"):
        sent[0] += 1
        sent[1] += len(json.dumps(message["content"], default=str))
    return message
session.send = counted

def publisher_cpu():
    path = f"/proc/self/task/{publisher._thread.native_id}/stat"
    fields = open(path).read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100

def nothing(n):
    return n

def forever(n):
    time.sleep(600)

def measured(call):
    before, cpu, began = list(sent), time.process_time(), time.time()
    value = call()
    print(json.dumps(dict(
        began=began, seconds=time.time() - began, cpu=time.process_time() - cpu,
        messages=sent[0] - before[0], bytes=sent[1] - before[1])))
    return value

ex = NotebookExecutor(n_workers=2, grace=0.3)
ex.submit(nothing, 0).result()
ex.submit(nothing, 0)
"""

CELLS = [
    SETUP,
    # 1: a board of queued tasks
    "held = ex.map_async(forever, range({tasks}))\nmeasured(lambda: board_display.show(held))",
    "print(json.dumps(dict(messages=sent[0], bytes=sent[1], publisher=publisher_cpu())))",
    "time.sleep(20)",
    "ex.cancel_all()",
    # 5: tasks that run through a board
    "before = list(sent), publisher_cpu()\n"
    "gates = [ex.submit(time.sleep, 600) for _ in range(2)]\n"
    "through = ex.map_async(nothing, range({tasks}))\n"
    "display(through)\n"
    "time.sleep(1)\n"
    "began = time.time(); [gate.cancel(force=True) for gate in gates]; through.wait(); took = time.time() - began\n"
    "time.sleep(1)\n"
    "print(json.dumps(dict(seconds=took, publisher=publisher_cpu() - before[1],"
    " messages=sent[0] - before[0][0], bytes=sent[1] - before[0][1])))",
    # 6: the plain way
    "def plain():\n"
    "    lines = [ipywidgets.HBox([ipywidgets.HTML(f'task {{n}}: queued'), ipywidgets.Button(description='Cancel')])\n"
    "             for n in range({plain})]\n"
    "    for line in lines:\n"
    "        line.children[1].on_click(lambda _, html=line.children[0]: setattr(html, 'value', 'cancelled'))\n"
    "    display(ipywidgets.VBox(lines))\n"
    "    return lines\n"
    "lines = measured(plain)",
    "def update():\n"
    "    for n, line in enumerate(lines): line.children[0].value = f'task {{n}}: done'\n"
    "measured(update)\nNone",
    "time.sleep(3)",
]

# Submits and shows; the row is to be there long before the cell ends.
AT_ONCE = "began = time.time()\nex.map_async(forever, range({tasks}))"
WHEN = "print(json.dumps(dict(began=began, ended=time.time())))"

WATCH = """([selector, text]) => {
    window.painted = null;
    const look = () => {
        if ([...document.querySelectorAll(selector)].some(node => node.textContent.includes(text))) {
            requestAnimationFrame(() => { window.painted = Date.now(); });
        } else requestAnimationFrame(look);
    };
    look();
}"""

CLICK = """async row => {
    const board = document.querySelector('.scaler-board');
    board.querySelector('.scaler-grid').scrollTop = 26 * row;
    await new Promise(resolve => setTimeout(resolve, 300));
    return await new Promise(resolve => {
    const line = [...board.querySelectorAll('.scaler-rows .scaler-line')]
        .find(line => !line.hidden && line.querySelector('.scaler-word').textContent === 'queued');
    const began = performance.now(), word = line.querySelector('.scaler-word');
    new MutationObserver((_, observer) => {
        if (word.textContent !== 'cancelled') return;
        observer.disconnect();
        resolve(performance.now() - began);
    }).observe(line, {subtree: true, childList: true, characterData: true});
    line.querySelector('.scaler-row-act').click();
})}"""

FRAMES = """() => {
    window.frames_ms = []; window.framesEnd = false;
    let last = performance.now();
    const frame = now => {
        window.frames_ms.push(now - last);
        last = now;
        if (!window.framesEnd) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
}"""

PLAIN_CLICK = """async n => {
    const line = [...document.querySelectorAll('.widget-hbox')].filter(line => line.querySelector('button'))[n];
    return await new Promise(resolve => {
    const began = performance.now();
    new MutationObserver((_, observer) => {
        if (!line.textContent.includes('cancelled')) return;
        observer.disconnect();
        resolve(performance.now() - began);
    }).observe(line, {subtree: true, childList: true, characterData: true});
    line.querySelector('button').click();
})}"""


def main() -> None:
    """Run all of it and print a line for each figure."""
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    server = LabServer(Path(tempfile.mkdtemp()))
    cells = [CELLS[0], *(cell.format(tasks=tasks, plain=PLAIN_TASKS) for cell in CELLS[1:])]
    server.write_notebook("views.ipynb", cells)
    server.write_notebook("first_row.ipynb", [SETUP])
    try:
        server.start()
        with browser() as context:
            measure_first_row(LabNotebook.open(context, server, "first_row.ipynb"), tasks)
            server.shut_down_kernels()
            measure(LabNotebook.open(context, server, "views.ipynb"), tasks)
    finally:
        server.stop()


def measure_first_row(notebook: LabNotebook, tasks: int) -> None:
    """How long a cell that submits many tasks is blank, in a notebook of its own."""
    notebook.run(0)
    notebook.wait_until_run(0, 60)
    notebook.output(0).locator(".scaler-badge").first.wait_for()  # the setup's own card is no part of it
    notebook.page.evaluate(WATCH, [".scaler-rows [title^='forever(']", ""])
    submitting = notebook.begin(AT_ONCE.format(tasks=tasks))
    notebook.page.wait_for_function("() => window.painted", timeout=120_000)
    notebook.wait_until_run(submitting, 300)
    times = json.loads(notebook.text(notebook.execute(WHEN)))
    shown = notebook.page.evaluate("() => window.painted") / 1000 - times["began"]
    took = times["ended"] - times["began"]
    print(f"a cell that submits {tasks:,}: first row after {shown:.2f} s, end of the cell after {took:.2f} s")
    notebook.page.close()


def measure(notebook: LabNotebook, tasks: int) -> None:
    """One notebook's figures."""

    def run(cell: int) -> dict[str, float]:
        notebook.run(cell)
        notebook.wait_until_run(cell, 300)
        notebook.page.wait_for_timeout(500)  # the reply may overtake what the cell printed
        text = notebook.text(cell)
        found: dict[str, float] = json.loads(text[text.rindex('{"') :]) if '{"' in text else {}
        return found

    def painted(selector: str, text: str, began: float) -> float:
        notebook.page.evaluate(WATCH, [selector, text])
        notebook.page.wait_for_function("() => window.painted", timeout=120_000)
        at: float = notebook.page.evaluate("() => window.painted")
        return at / 1000 - began

    def clicks(script: str, first: int, step: int = 1, count: int = CLICKS) -> str:
        times = sorted(notebook.page.evaluate(script, first + step * n) for n in range(count))
        return f"median {statistics.median(times):.0f} ms, worst {times[-1]:.0f} ms"

    run(0)
    created = run(1)
    shown = painted(".scaler-rows [title='forever(0)']", "", created["began"])
    after = run(2)
    print(f"board of {tasks:,}: painted after {shown:.2f} s; kernel CPU to create {created['cpu']:.3f} s")
    print(f"  sent to show it: {after['messages']:.0f} messages, {after['bytes'] / 1000:,.0f} kB")
    print(f"  click to badge, kernel idle: {clicks(CLICK, 20, 20)}")
    notebook.run(3)
    notebook.wait_until_running(3)
    print(f"  click to badge, a cell sleeps: {clicks(CLICK, 500, 20)}")
    notebook.wait_until_run(3, 60)
    run(4)
    notebook.page.evaluate(FRAMES)
    through = run(5)
    frames = sorted(notebook.page.evaluate("() => { window.framesEnd = true; return window.frames_ms; }"))
    print(
        f"{tasks:,} tasks through a board in {through['seconds']:.1f} s: publisher CPU {through['publisher']:.2f} s, "
        f"{through['messages']:.0f} messages, {through['bytes'] / 1000:,.0f} kB"
    )
    print(
        f"  frames of the browser meanwhile: median {statistics.median(frames):.0f} ms, "
        f"95 % within {frames[int(0.95 * len(frames))]:.0f} ms, worst {frames[-1]:.0f} ms"
    )
    plain = run(6)
    shown = painted(".widget-html-content", f"task {PLAIN_TASKS - 1}", plain["began"])
    updated = run(7)
    print(f"the plain way, {PLAIN_TASKS:,}: painted after {shown:.2f} s; kernel CPU to create {plain['cpu']:.2f} s")
    print(f"  sent to show it: {plain['messages']:.0f} messages, {plain['bytes'] / 1000:,.0f} kB")
    print(f"  each changed once: {updated['messages']:.0f} messages, kernel CPU {updated['cpu']:.2f} s")
    print(f"  click to label, kernel idle: {clicks(PLAIN_CLICK, 0)}")
    notebook.run(8)
    notebook.wait_until_running(8)
    print(f"  click to label, a cell sleeps for 3 s: {clicks(PLAIN_CLICK, 20, count=1)}")


if __name__ == "__main__":
    main()
