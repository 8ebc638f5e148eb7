"""In a real kernel: cards, callbacks, waits that keep it alive, magics, and its end."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kernels import Executed, Kernel, card_id, run_notebook
from leaks import our_processes
from shared_kernels import SharedKernel, patch

SETUP = """
import asyncio, os, sys, threading, time
%load_ext scaler_notebook
from scaler_notebook import *
ex = NotebookExecutor(n_workers=2, grace=0.3)
"""


@pytest.fixture
def running_kernel(shared_kernel: SharedKernel) -> Iterator[Kernel]:
    with shared_kernel.lent(SETUP) as k:
        yield k


def row_of(message: dict[str, Any], comm: str) -> dict[str, Any] | None:
    """The row that a message carries to a card, if it does."""
    content = message["content"]
    if message["msg_type"] != "comm_msg" or content["comm_id"] != comm:
        return None
    found = content["data"].get("content", {})
    return found.get("row") if found.get("type") == "row" else None


def wait_for_row(k: Kernel, comm: str, state: str) -> dict[str, Any]:
    message = k.until(lambda m: (row := row_of(m, comm)) is not None and row["state"] == state)
    row = row_of(message, comm)
    assert row is not None
    return row


def wait_for_static(k: Kernel, words: str) -> dict[str, Any]:
    """The static form that replaces a card, once it says ``words``."""
    message = k.until(
        lambda m: m["msg_type"] == "update_display_data" and words in m["content"]["data"].get("text/plain", "")
    )
    bundle: dict[str, Any] = message["content"]["data"]
    return bundle


def test_importing_is_enough_for_cancel_to_wait_in_a_cell(own_kernel: Kernel) -> None:
    executed = own_kernel.run(
        "import time; from scaler_notebook import NotebookExecutor\n"
        "f = NotebookExecutor(n_workers=1).submit(time.sleep, 60)\n"
        "print(f.cancel(), f.cancelled())"
    )
    assert executed.text == "True True\n", executed


def test_a_card_shows_itself_and_its_end(running_kernel: Kernel) -> None:
    k = running_kernel
    k.run(
        "def work(n):\n    try:\n        print('at it', flush=True); time.sleep(n)\n"
        "    except KeyboardInterrupt:\n        time.sleep(0.2); raise"
    )
    executed = k.run("f = ex.submit(work, 60)\nf")
    bundle = executed.displays[0]
    assert "work(60)" in bundle["text/plain"]
    assert "%scaler cancel" in bundle["text/html"]
    comm = card_id(executed)
    k.send_comm(comm, {"type": "ready"})
    row = wait_for_row(k, comm, "running")
    assert row["call"] == "work(60)"
    if "at it" not in row["output"]:  # its end takes a while from then on
        k.until(lambda m: (row := row_of(m, comm)) is not None and "at it" in row["output"])
    k.send_comm(comm, {"type": "output", "view": "mine", "question": 1, "rewrites": 0, "from": 3})
    answer = k.until(lambda m: m["content"].get("data", {}).get("content", {}).get("type") == "output")
    told = {"type": "output", "view": "mine", "question": 1, "rewrites": 0, "from": 3, "text": "it\n"}
    assert answer["content"]["data"]["content"] == told
    k.send_comm(comm, {"type": "cancel", "force": False})
    wait_for_row(k, comm, "cancelling")
    static = wait_for_static(k, "cancelled: stopped")
    assert "application/vnd.jupyter.widget-view+json" not in static
    assert k.run("print(f.cancel_reason.value)").text == "stopped\n"


@pytest.mark.parametrize(
    ("task", "end"),
    [
        ("raise ValueError('half: ' + chr(0xd83d))", "failed"),
        ("return 'half: ' + chr(0xd83d)", "done"),
        ("display(HTML('half: ' + chr(0xd83d)))", "done"),
        ("display({'application/x+json': {'half: ' + chr(0xd83d): ['half: ' + chr(0xdc00)]}}, raw=True)", "done"),
    ],
)
def test_a_half_of_a_character_keeps_no_card_from_its_end(running_kernel: Kernel, task: str, end: str) -> None:
    k = running_kernel
    k.run(f"from IPython.display import HTML, display\ndef half():\n    time.sleep(0.1)\n    {task}")
    comm = card_id(k.run("f = ex.submit(half)\nf"))
    k.send_comm(comm, {"type": "ready"})
    wait_for_static(k, end)


def test_a_click_that_comes_too_late_keeps_the_result_and_says_so(running_kernel: Kernel) -> None:
    k = running_kernel
    comm = card_id(k.run("f = ex.submit(time.sleep, 0.5)\nf"))
    k.send_comm(comm, {"type": "ready"})
    wait_for_static(k, "done")
    k.send_comm(comm, {"type": "cancel", "force": False})
    k.until(lambda m: "had already ended" in m["content"].get("data", {}).get("text/html", ""))
    assert k.run("print(f.result(0), f.cancelled())").text == "None False\n"
    k.until(lambda m: m["msg_type"] == "comm_close" and m["content"]["comm_id"] == comm)


def test_a_click_is_handled_while_a_cell_waits_for_the_result(running_kernel: Kernel) -> None:
    k = running_kernel
    comm = card_id(k.run("f = ex.submit(time.sleep, 60)\nf"))
    k.send_comm(comm, {"type": "ready"})
    wait_for_row(k, comm, "running")
    waiting = k.submit("try: f.result()\nexcept BaseException as e: print(type(e).__name__, e)")
    k.until(lambda m: m["msg_type"] == "execute_input" and m["parent_header"]["msg_id"] == waiting)
    k.send_comm(comm, {"type": "cancel", "force": True})
    assert k.finish(waiting).text == "TaskCancelledError sleep(60): stopped\n"


BUTTON = """
import ipywidgets
def deaf():
    import signal
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("begun", flush=True)
    time.sleep(60)
f = ex.submit(deaf)
while not f.logs.stdout: time.sleep(0.01)
answers = []
button = ipywidgets.Button()
button.on_click(lambda _: answers.append((f.cancel(grace=20), f.state.value)))
print(button.comm.comm_id)
"""


def test_cancel_in_a_widgets_callback_asks_and_returns(running_kernel: Kernel) -> None:
    k = running_kernel
    comm = k.run(BUTTON).text.strip()
    k.send_comm(comm, {"event": "click"})
    assert k.run("print(answers)").text == "[(False, 'cancelling')]\n"


def test_queued_cells_keep_their_order_behind_a_wait(running_kernel: Kernel) -> None:
    k = running_kernel
    first = k.submit("order = []; ex.submit(time.sleep, 0.5).result(); order.append(1)")
    others = [k.submit(f"order.append({n})") for n in (2, 3, 4)]
    for request in [first, *others]:
        k.finish(request)
    assert k.run("print(order)").text == "[1, 2, 3, 4]\n"


def test_the_stop_button_ends_a_wait_and_the_task_goes_on(running_kernel: Kernel) -> None:
    k = running_kernel
    k.run("f = ex.submit(time.sleep, 60)\nwhile f.state is not TaskState.RUNNING: time.sleep(0.01)")
    waiting = k.submit("f.result()")
    k.until_waiting()
    k.manager.interrupt_kernel()
    executed = k.finish(waiting)
    assert "scaler_notebook" not in "".join(executed.traceback), "a frame of this package"
    assert executed.error.startswith("KeyboardInterrupt")
    k.send_comm(card_id(executed), {"type": "cancel", "force": False})  # the card that the interrupted cell shows
    wait_for_static(k, "cancelled: stopped")
    assert k.run("print(f.cancel_reason.value)").text == "stopped\n"


# what a cell waits in, how it ends, how many tasks it waits for
STOPPED = {
    "f.result()": ("KeyboardInterrupt", 1),
    "await f": ("CancelledError", 1),
    "list(ex.map(time.sleep, [60, 60]))": ("KeyboardInterrupt", 2),
}


@pytest.mark.parametrize("code", STOPPED)
@pytest.mark.parametrize("policy", ["ask", "cancel", "leave"])
def test_what_becomes_of_the_tasks_when_the_stop_button_ends_a_wait(
    running_kernel: Kernel, policy: str, code: str
) -> None:
    k = running_kernel
    error, waited_for = STOPPED[code]
    assert k.run(f"%scaler config on_interrupt={policy} grace=0.2").text.startswith(f"grace=0.2 on_interrupt={policy} ")
    waiting = k.submit(f"f = ex.submit(time.sleep, 60)\nprint('waiting')\n{code}")
    k.until(lambda m: m["msg_type"] == "stream" and "waiting" in m["content"]["text"])
    if not code.startswith("await"):
        k.until_waiting()
    k.manager.interrupt_kernel()
    executed = k.finish(waiting)
    assert error in executed.error
    assert "scaler_notebook" not in "".join(executed.traceback), "a frame of this package"
    assert len(executed.displays) == (waited_for if policy == "ask" else 0)
    k.run("wait([f for f in ex.unfinished() if f.state is TaskState.CANCELLING], 10)")
    submitted = 3 if "map" in code else 1
    left = submitted - waited_for if policy == "cancel" else submitted
    assert k.run("print(len(ex.unfinished()))").text == f"{left}\n"
    assert k.run("print(ex.cancel_all())").text == "True\n"


CALLBACKS = """
seen = []
f = ex.submit(time.sleep, 0.2)
f.on_update(lambda future: seen.append(
    (future.state.value, threading.current_thread() is threading.main_thread(), asyncio._get_running_loop() is not None)
))
"""


def test_on_update_arrives_in_the_event_loop_of_an_idle_kernel(running_kernel: Kernel) -> None:
    k = running_kernel
    k.run(CALLBACKS)
    k.run("await f")
    assert eval(k.run("await asyncio.sleep(0); print(seen)").text)[-1] == ("finished", True, True)


def test_on_update_arrives_while_a_cell_waits(running_kernel: Kernel) -> None:
    executed = running_kernel.run(CALLBACKS + "f.result()\nprint(seen)")
    assert eval(executed.text)[-1][:2] == ("finished", True)


def test_cancel_in_an_update_callback_does_not_block_the_kernel(running_kernel: Kernel) -> None:
    k = running_kernel
    executed = k.run(
        "other = ex.submit(time.sleep, 60)\nanswers = []\n"
        "f = ex.submit(abs, -1)\n"
        "f.on_update(lambda future: future.done() and not answers and answers.append(other.cancel()))\n"
        "f.result(); time.sleep(0)\n"
        "while not other.done(): await asyncio.sleep(0.01)\n"
        "print(other.cancelled(), len(answers))"
    )
    assert executed.text == "True 1\n", executed


def test_submit_sends_exactly_that_expression(running_kernel: Kernel) -> None:
    k = running_kernel
    k.run("alpha = 3\nX = [1]\ndef fit(x, s): return x, s")
    executed = k.run("fut = %scaler submit fit(X, {alpha})\nprint(fut.result(), fut.call)")
    assert executed.text == "([1], {3}) fit(X, {alpha})\n", executed
    assert "0" in k.run("r = %scaler submit '$X' + \"{alpha}\"\nprint(r.result().count('3'))").text


def test_submit_refuses_what_cannot_run(running_kernel: Kernel) -> None:
    assert running_kernel.run("%scaler submit nothing_of_that_name(1)").error.startswith("NameError")
    assert running_kernel.run("%scaler submit x = 1").error.startswith("SyntaxError")
    assert "an expression is missing" in running_kernel.run("%scaler submit").text
    assert "no command" in running_kernel.run("%scaler nonsense").text


def test_status_and_cancel_magics(running_kernel: Kernel) -> None:
    k = running_kernel
    running = "while f.state.value != 'running': time.sleep(0.01)"
    identity = k.run(f"f = ex.submit(time.sleep, 60)\n{running}\nprint(f.task_id)").text.strip()
    assert identity in k.run("%scaler status").text
    assert "no unfinished task" in k.run("%scaler cancel nonsense").text
    assert "cancelled" in k.run(f"%scaler cancel {identity}").text
    assert "0 running, 0 queued" in k.run("%scaler status").text


def test_a_failed_task_shows_its_traceback_with_the_cells_source(running_kernel: Kernel) -> None:
    k = running_kernel
    k.run("def divide(x):\n    return x / 0  # the culprit\nf = ex.submit(divide, 1)")
    executed = k.run("import traceback\ntry: f.result()\nexcept ZeroDivisionError: traceback.print_exc()")
    assert "# the culprit" in executed.text
    assert "division by zero" in k.run("f").text
    shown = k.run("f")
    assert "], line 2, in divide: return x / 0  # the culprit" in shown.text
    assert re.search(r"Cell In\[\d+\], line 2, in divide", shown.displays[0]["text/html"])


def test_the_users_own_line_is_named_and_not_the_librarys(running_kernel: Kernel) -> None:
    k = running_kernel
    k.run("import json\ndef parse(text):\n    return json.loads(text)\nf = ex.submit(parse, '{')")
    k.run("wait([f])")
    assert "], line 3, in parse: return json.loads(text)" in k.run("f").text


def test_without_a_front_end_the_card_becomes_text_that_says_how_to_stop(running_kernel: Kernel) -> None:
    k = running_kernel
    patch(k, "scaler_notebook.notebook.views.live_display", READY_PATIENCE=0.2)
    k.run("f = ex.submit(time.sleep, 60)\nf")
    bundle = wait_for_static(k, "running")
    assert "%scaler cancel" in bundle["text/html"]
    k.run("f.cancel()")
    wait_for_static(k, "cancelled: stopped")


def test_where_a_live_view_covers_the_output_nobody_has_to_be_in_time(running_kernel: Kernel) -> None:
    """The output has no widget, and is kept current; a front end that comes late is served, also after the end."""
    k = running_kernel
    patch(k, "scaler_notebook.notebook.views.live_display", READY_PATIENCE=0.1)
    patch(k, "scaler_notebook.notebook.views.card.display", LATE_CLICKS=0.1, LATE_PAGES=0.1, LIVE_INTERVAL=0.2)
    submitted = k.submit("f = ex.submit(time.sleep, 60)\nf", in_lab=True)
    opened = k.until(lambda m: "_place" in m["content"].get("data", {}).get("state", {}))
    comm, place = opened["content"]["comm_id"], opened["content"]["data"]["state"]["_place"]
    (bundle,) = k.finish(submitted).displays
    assert "application/vnd.jupyter.widget-view+json" not in bundle
    assert f"scaler-place-{place}" in bundle["text/html"]
    assert f"scaler-place-{place}" in wait_for_static(k, "running")["text/html"]
    k.send_comm(comm, {"type": "ready", "view": "late"})
    wait_for_row(k, comm, "running")
    k.send_comm(comm, {"type": "cancel", "force": False})
    assert f"scaler-place-{place}" in wait_for_static(k, "cancelled: stopped")["text/html"]
    k.run("await asyncio.sleep(0.3)")  # the card has let go of its future
    k.send_comm(comm, {"type": "ready", "view": "of a page that was loaded again"})
    assert wait_for_row(k, comm, "cancelled")["reason"] == "stopped"
    k.send_comm(comm, {"type": "retry"})
    wait_for_static(k, "running")  # it may come before the row, or after it
    k.send_comm(comm, {"type": "cancel", "force": False})
    wait_for_static(k, "cancelled: stopped")


def test_no_comm_outlives_its_card(running_kernel: Kernel) -> None:
    k = running_kernel
    count = "import comm; print(len(comm.get_comm_manager().comms))"
    before = k.run(count).text
    executed = k.run("from IPython.display import display\nf = ex.submit(time.sleep, 60)\ndisplay(f)")
    comm = card_id(executed)
    for view in ("page", "second page"):
        k.send_comm(comm, {"type": "ready", "view": view})
    wait_for_row(k, comm, "running")
    k.run("import gc, weakref; f.cancel(); gone = weakref.ref(f)")
    wait_for_static(k, "cancelled: ")
    k.send_comm(comm, {"type": "left", "view": "page"})
    k.run("f = None")
    kept = "gc.collect(); await asyncio.sleep(0.1); print(gone() is not None)"
    deadline = time.monotonic() + 10
    while k.run(f"import asyncio; {kept}").text == "True\n":
        assert time.monotonic() < deadline, "a card that is still shown keeps its future alive"
    k.send_comm(comm, {"type": "left", "view": "second page"})
    k.until(lambda m: m["msg_type"] == "comm_close" and m["content"]["comm_id"] == comm)
    assert k.run(count).text == before


RICH = """
class Table:
    def __repr__(self): return 'the text'
    def _repr_html_(self): return '<b>the html</b>'
class Picture:
    def _repr_png_(self): return bytes(10)
class Broken:
    def __repr__(self): return 'the broken one'
    def _repr_html_(self): raise ValueError
class Loud:
    def _ipython_display_(self): print('shouted')
"""


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("Table", "<b>the html</b>"),
        ("Picture", "data:image/png;base64,AAAA"),
        ("Broken", "the broken one"),
        ("Loud", "Loud"),
    ],
)
def test_a_rich_result_is_shown_as_its_own_display(running_kernel: Kernel, value: str, shown: str) -> None:
    k = running_kernel
    k.run(RICH)
    executed = k.run(f"f = ex.submit({value}); wait([f]); f")
    k.until(
        lambda m: (
            m["msg_type"] in ("display_data", "update_display_data")
            and shown in m["content"]["data"].get("text/html", "")
        )
    )
    assert "shouted" not in executed.text + k.run("1").text


def test_a_cell_that_is_run_again_says_what_its_earlier_run_left(running_kernel: Kernel) -> None:
    k = running_kernel

    def run_cell(code: str) -> str:
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = k.client.session.msg("execute_request", content, metadata={"cellId": "the-cell"})
        k.client.shell_channel.send(message)
        return card_id(k.finish(message["header"]["msg_id"]))

    def earlier(message: dict[str, Any], comm: str) -> Any:
        content = message["content"]
        if message["msg_type"] != "comm_msg" or content["comm_id"] != comm:
            return None
        return content["data"].get("content", {}).get("earlier")

    run_cell("f = ex.submit(time.sleep, 60)\nfirst = f\nf")
    second = run_cell("f = ex.submit(time.sleep, 61)\nf")
    k.run("while first.state.value != 'running': time.sleep(0.01)")
    k.send_comm(second, {"type": "ready"})
    k.until(lambda m: earlier(m, second) == {"running": 1, "refused": False})
    k.send_comm(second, {"type": "cancel_earlier", "force": False})
    k.until(lambda m: earlier(m, second) == {"running": 0, "refused": False})
    assert k.run("print(first.cancel_reason.value, f.done())").text == "stopped False\n"


def test_a_card_that_a_page_still_shows_can_submit_again(running_kernel: Kernel) -> None:
    k = running_kernel
    patch(k, "scaler_notebook.notebook.views.card.display", LATE_CLICKS=0.1)
    patch(k, "scaler_notebook.notebook.views.card.feed", PREVIEW_PATIENCE=0.1)
    k.run("def fails(): time.sleep(0.5); 1 / 0")
    comm = card_id(k.run("f = ex.submit(fails)\nf"))
    k.send_comm(comm, {"type": "ready", "view": "page"})
    wait_for_row(k, comm, "finished")
    k.run("await asyncio.sleep(0.5)")  # the card has let go of its future
    for _ in range(2):  # also what was submitted again
        k.send_comm(comm, {"type": "retry"})
        wait_for_row(k, comm, "running")
        assert wait_for_row(k, comm, "finished")["outcome"] == "failed"
    assert k.run("print(f.failed)").text == "True\n"


def test_await_in_a_cell(running_kernel: Kernel) -> None:
    executed: Executed = running_kernel.run("print(await ex.submit(abs, -3))")
    assert executed.text == "3\n"


@pytest.mark.parametrize("ending", ["shutdown", "restart", "kill"])
def test_the_end_of_a_kernel_ends_everything(ending: str) -> None:
    before = our_processes()
    k = Kernel()
    try:
        k.run(SETUP)
        k.run("fs = [ex.submit(time.sleep, 1000) for _ in range(5)]")
        k.run("while fs[1].state is not TaskState.RUNNING: time.sleep(0.01)")
        pid = int(k.run("print(os.getpid())").text)
        started = our_processes() - before - {pid}
        assert len(started) >= 4
        match ending:
            case "shutdown":
                k.client.shutdown()
            case "restart":
                k.manager.restart_kernel(now=True)
            case "kill":
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while left := our_processes() & started:
            assert time.monotonic() < deadline, f"still there after 5 s: {left}"
            time.sleep(0.01)
    finally:
        k.client.stop_channels()
        k.manager.shutdown_kernel(now=True)
        k.manager.cleanup_resources()


def test_a_notebook_that_runs_without_a_browser_keeps_how_its_tasks_ended(shared_kernel: SharedKernel) -> None:
    with shared_kernel.lent() as k:
        notebook = run_notebook(
            k,
            [
                "from scaler_notebook import NotebookExecutor\nimport time\nex = NotebookExecutor(n_workers=1)",
                "during = ex.submit(time.sleep, 60)\nduring",
                "during.cancel()",
                "between = ex.submit(abs, -1)\nbetween",
                "while not between.done(): pass",
                "1",
                "last = ex.submit(abs, -2)\nlast",
                "last.result()",
            ],
        )
    shown = [notebook.cells[cell].outputs[0]["data"]["text/plain"] for cell in (1, 3, 6)]
    assert "cancelled" in shown[0]
    assert "done" in shown[1]
    assert "done" in shown[2]


def test_a_client_without_an_address_uses_the_engine_of_the_notebook(shared_kernel: SharedKernel) -> None:
    with shared_kernel.lent() as k:
        executed = k.run(
            "import os\nfrom scaler_notebook import Client, NotebookExecutor\n"
            "with Client() as one, Client() as two:\n"
            "    print(one.map(abs, [-1, -2]), one.submit(os.getppid).result() == two.submit(os.getppid).result())\n"
            "ex = NotebookExecutor(n_workers=1)\n"
            "with Client() as three:\n"
            "    print(three.submit(os.getppid).result() == ex.submit(os.getppid).result())\n"
            "print(ex.submit(abs, -3).result())\n"
            "ex.shutdown()\n"
            "Client().shutdown()"
        )
        assert executed.text == "[1, 2] True\nTrue\n3\n", executed
        assert not executed.error


FORK = """
def in_child(call):
    import warnings
    ear, mouth = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # Python 3.12 warns of forks
        pid = os.fork()
    if not pid:
        try:
            os.write(mouth, repr(call()).encode())
        finally:
            os._exit(0)
    os.close(mouth)
    import select
    said = os.read(ear, 65536).decode() if select.select([ear], [], [], 10)[0] else "nothing"
    os.close(ear)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return said
"""


def test_a_child_that_a_cell_forks_waits_for_its_own_tasks_alone(running_kernel: Kernel) -> None:
    k = running_kernel
    k.run(FORK)
    k.run("from multiprocessing import get_context\nrunning = ex.submit(time.sleep, 600)\nrunning")
    asked = k.run("print(in_child(lambda: running.exception()), in_child(lambda: running.exception(timeout=5)))")
    assert asked.text.count("DisconnectedError('the task was submitted by process") == 2, asked
    assert k.run("print(in_child(lambda: ex.submit(abs, -1).result()))").text == "1\n"
    ended = k.run("p = get_context('fork').Process(target=abs, args=(1,)); p.start(); p.join(10); print(p.exitcode)")
    assert ended.text == "0\n"
    pool = "with get_context('fork').Pool(2) as pool: print(pool.map(abs, [-1, -2]))"
    assert k.run(pool).text == "[1, 2]\n"
    assert k.run("print(running.done(), running.cancel(), ex.submit(abs, -2).result())").text == "False True 2\n"


def test_views_that_come_and_never_say_that_they_leave_are_forgotten(running_kernel: Kernel) -> None:
    k = running_kernel
    comm = card_id(k.run("f = ex.submit(time.sleep, 60); f"))
    for number in range(300):
        k.send_comm(comm, {"type": "ready", "view": f"page {number} {'x' * 1_000}"})
    k.run("from scaler_notebook.notebook.views.card import display")
    look = "views = [card._feed.views for card in display._live]"
    longest = k.run(f"{look}; print(max(map(len, views)), max(len(name) for each in views for name in each))").text
    assert longest == "256 64\n"
    k.run("f.cancel()")
