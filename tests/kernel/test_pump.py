"""A cell that waits keeps the notebook alive: on the installed ipykernel, and on every one that we support.

The client here is a front end without subshells (Voilà, nbclient): all it sends goes to the kernel's main shell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kernel_environments import INSTALLED, IPYKERNELS, kernel_of
from kernels import Kernel, card_id
from shared_kernels import SharedKernel, patch

SETUP = """
import asyncio, os, sys, threading, time, warnings
import ipywidgets
from IPython.display import display
from scaler_notebook import *
ex = NotebookExecutor(n_workers=2, grace=0.3)
def ended(future):
    try: return future.result()
    except Exception as e: return type(e).__name__
"""
PATIENCE = 15.0  # seconds; what is waited for takes milliseconds


@pytest.fixture(scope="module", params=IPYKERNELS)
def kernel_version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def k(shared_kernel: SharedKernel, kernel_version: str) -> Iterator[Kernel]:
    with shared_kernel.lent(SETUP) as lent:
        if kernel_version != INSTALLED:
            assert lent.run("import ipykernel; print(ipykernel.__version__)").text == f"{kernel_version}\n"
        yield lent


class Requests:
    """Every reply and every status that the requests of a test got."""

    def __init__(self, k: Kernel) -> None:
        self.k = k
        self.replies: list[tuple[str, str]] = []  # (request, its type)

    def until_replied(self, request: str) -> str:
        """The type of the reply to a request."""
        while True:
            for parent, kind in self.replies:
                if parent == request:
                    return kind
            message = self.k.client.get_shell_msg(timeout=PATIENCE)
            self.replies.append((message["parent_header"]["msg_id"], message["msg_type"]))

    def number_of_replies(self, request: str) -> int:
        """Replies come in their order: a later one shows that all of an earlier request are here."""
        self.until_replied(self.k.submit("1"))
        return sum(parent == request for parent, _ in self.replies)


def statuses(k: Kernel, until: str) -> list[tuple[str, str]]:
    """(request, status) of all status messages, to the end of the request ``until``."""
    k.finish(until)
    return [
        (m["parent_header"]["msg_id"], m["content"]["execution_state"])
        for m in k._log
        if m["msg_type"] == "status" and m["parent_header"]
    ]


def card(k: Kernel, submit: str = "f = ex.submit(time.sleep, 60)") -> str:
    """A task that runs long, and the comm of its card, which a front end shows."""
    comm = card_id(k.run(f"{submit}\nf"))
    k.send_comm(comm, {"type": "ready"})
    until_row(k, comm, "running")
    return comm


def until_row(k: Kernel, comm: str, state: str) -> None:
    def shows(m: dict[str, Any]) -> bool:
        if m["msg_type"] != "comm_msg" or m["content"]["comm_id"] != comm:
            return False
        return bool(m["content"]["data"].get("content", {}).get("row", {}).get("state") == state)

    k.until(shows, PATIENCE)


def click(k: Kernel, comm: str) -> None:
    k.send_comm(comm, {"type": "cancel", "force": True})


WAITS = {
    "result": "print(ended(f))",
    "exception": "try: f.exception()\nexcept Exception as e: print(type(e).__name__)",
    "wait": "print(*[type(x).__name__ for x in wait([f]).done])",
    "as_completed": "print(*[type(x).__name__ for x in as_completed([f])])",
    "cancel": "print(deaf.cancel())",
    "shutdown": "ex.shutdown(); print('shut down')",
}
DEAF = """
import tempfile
place = tempfile.TemporaryDirectory()
ready, go = os.path.join(place.name, 'ready'), os.path.join(place.name, 'go')
def deaf():
    while True:
        try:  # it tells that it is ready where an interrupt no longer ends it
            open(ready, 'w').close()
            while not os.path.exists(go): time.sleep(0.01)
            return
        except KeyboardInterrupt: pass
patient = NotebookExecutor(n_workers=1, grace=30)
deaf = patient.submit(deaf)
while not os.path.exists(ready): time.sleep(0.01)
f.on_update(lambda f: f.done() and open(go, 'w').close())
"""


def test_a_click_is_handled_in_every_wait(k: Kernel) -> None:
    for name, code in WAITS.items():
        comm = card(k)
        if name == "cancel":  # it lasts until the click ends the other task
            assert not k.run(DEAF).error
        waiting = k.submit(code)
        k.until_waiting()
        click(k, comm)
        executed = k.finish(waiting, PATIENCE)
        assert not executed.error, (name, executed)
        assert k.run("print(f.cancel_reason.value)").text == "stopped\n", name
    assert k.run("print(deaf.cancel_reason.value)").text == "finished first\n"


def test_a_click_is_handled_while_a_with_block_is_left(k: Kernel) -> None:
    waiting = k.submit("with NotebookExecutor(n_workers=1) as inner:\n    f = inner.submit(time.sleep, 60); display(f)")
    shown = k.until(lambda m: m["msg_type"] == "display_data")
    comm = shown["content"]["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]
    k.send_comm(comm, {"type": "ready"})
    until_row(k, comm, "running")
    click(k, comm)
    assert not k.finish(waiting, PATIENCE).error
    assert k.run("print(f.cancelled())").text == "True\n"


def test_requests_for_information_are_answered_once_and_the_cell_stays_busy(k: Kernel) -> None:
    comm = card(k)
    waiting = k.submit("print('before'); print(ended(f)); print('after')")
    k.until(lambda m: m["msg_type"] == "execute_input" and m["parent_header"]["msg_id"] == waiting)
    requests = Requests(k)
    asked = {k.client.kernel_info(): "kernel_info_reply", k.client.comm_info("jupyter.widget"): "comm_info_reply"}
    assert {request: requests.until_replied(request) for request in asked} == asked
    click(k, comm)
    assert k.finish(waiting).text == "before\nTaskCancelledError\nafter\n"
    requests.until_replied(waiting)
    assert [requests.number_of_replies(request) for request in (*asked, waiting)] == [1, 1, 1]
    seen = statuses(k, waiting)
    for request in asked:
        mine = [i for i, (parent, _) in enumerate(seen) if parent == request]
        assert [seen[i][1] for i in mine] == ["busy", "idle"]
        assert seen[mine[-1] + 1] == (waiting, "busy"), "the front end would show an idle kernel"
    assert [status for parent, status in seen if parent == waiting][-1] == "idle"


def test_a_page_that_reloads_gets_its_widgets_back_during_a_wait(k: Kernel) -> None:
    comm = card(k)
    waiting = k.submit("ended(f)")
    k.until_waiting()
    session, control = k.client.session, "c0"
    opening = {"comm_id": control, "target_name": "jupyter.widget.control", "data": {}}
    k.client.shell_channel.send(session.msg("comm_open", opening, metadata={"version": "1.0.0"}))
    k.client.shell_channel.send(session.msg("comm_msg", {"comm_id": control, "data": {"method": "request_states"}}))
    answer = k.until(lambda m: m["msg_type"] == "comm_msg" and m["content"]["comm_id"] == control, PATIENCE)
    assert comm in answer["content"]["data"]["states"]
    click(k, comm)
    k.finish(waiting, PATIENCE)
    k.client.shell_channel.send(session.msg("comm_close", {"comm_id": control, "data": {}}))


def test_other_widgets_and_cells_wait_in_their_order(k: Kernel) -> None:
    comm = card(k)
    button = card_id(
        k.run(
            "order = []\nb = ipywidgets.Button()\n"
            "b.on_click(lambda _: order.append(('click', threading.current_thread() is threading.main_thread())))\nb"
        )
    )
    waiting = k.submit("ended(f); order.append(len(order))")
    k.until_waiting()
    k.send_comm(button, {"event": "click"})
    first = k.submit("order.append('first')")
    k.send_comm(button, {"event": "click"})
    k.send_comm(button, {"event": "click"})
    second = k.submit("order.append('second')")
    click(k, comm)
    for request in (waiting, first, second):
        k.finish(request, PATIENCE)
    clicked = ("click", True)
    assert k.run("print(order)").text == f"{[0, clicked, 'first', clicked, clicked, 'second']}\n"


@pytest.mark.parametrize("busy", ["time.sleep(0.5)", "await asyncio.sleep(0.5)"])
def test_what_was_queued_before_the_wait_began(k: Kernel, busy: str) -> None:
    """The kernel has read it already; a click on our task must be found all the same, and cells keep their order."""
    comm = card(k)
    requests = Requests(k)
    cells = [k.submit(f"order = []; {busy}"), k.submit("order.append(ended(f))")]
    click(k, comm)
    cells.append(k.submit("order.append(2)"))
    asked = k.client.kernel_info()
    cells.append(k.submit("order.append(3)"))
    for request in cells:
        assert not k.finish(request, PATIENCE).error
    assert k.run("print(order)").text == "['TaskCancelledError', 2, 3]\n"
    requests.until_replied(asked)
    assert [requests.number_of_replies(request) for request in (asked, *cells)] == [1, 1, 1, 1, 1]


def test_a_click_before_the_wait_of_the_same_cell(k: Kernel) -> None:
    comm = card(k)
    waiting = k.submit("print('now'); await asyncio.sleep(0.3); print(ended(f))")
    k.until(lambda m: m["msg_type"] == "stream" and "now" in m["content"]["text"])
    click(k, comm)
    assert k.finish(waiting, PATIENCE).text == "now\nTaskCancelledError\n"


def test_a_cell_that_fails_after_a_click_ends_those_queued_behind_it(k: Kernel) -> None:
    comm = card(k)
    failing, behind = k.submit("f.result()"), k.submit("print('must not run')")
    k.until_waiting()
    click(k, comm)
    assert k.finish(failing, PATIENCE).error.startswith("TaskCancelledError")
    assert k.finish(behind, PATIENCE).text == ""
    assert k.run("print(1)").text == "1\n"


def test_waits_nest(k: Kernel) -> None:
    comm = card(k)
    waiting = k.submit(
        "seen = []\nouter = ex.submit(time.sleep, 0.1)\n"
        "def tell(future):\n    if future.done() and not seen: seen.append('in'); seen.append(ended(f))\n"
        "outer.on_update(tell)\nouter.result(); print(seen)"
    )
    k.until_waiting()
    asked = [k.submit("print('queued')"), k.client.kernel_info()]
    click(k, comm)
    assert k.finish(waiting, PATIENCE).text == "['in', 'TaskCancelledError']\n"
    assert k.finish(asked[0], PATIENCE).text == "queued\n"


def test_a_card_waits_for_a_front_end_that_the_kernel_cannot_hear(k: Kernel) -> None:
    """Static HTML takes the place of what no front end shows, not of what one shows while a cell is busy."""
    patch(k, "scaler_notebook.notebook.views.live_display", READY_PATIENCE=0.3)
    k.run("f = ex.submit(time.sleep, 60)")
    show = k.submit("display(f); await asyncio.sleep(1)")
    queued = [k.submit("time.sleep(1)"), k.submit("f")]  # what a page says to the first card comes after these
    shown = k.finish(show)
    k.send_comm(card_id(shown), {"type": "ready"})
    k.finish(queued[0])
    k.finish(queued[1])  # nobody shows this one
    until_row(k, card_id(shown), "running")
    assert not any(m["msg_type"] == "update_display_data" for m in k._log)
    replaced = k.until(lambda m: m["msg_type"] == "update_display_data", PATIENCE)
    assert "%scaler cancel" in replaced["content"]["data"]["text/html"]


def test_the_stop_button_ends_a_wait_and_leaves_the_kernel_as_it_was(k: Kernel) -> None:
    comm = card(k)
    for turn in range(20):
        if turn % 2:
            assert k.run("print(ex.submit(abs, -1).result())").text == "1\n"
            continue
        waiting = k.submit("f.result()")
        k.until_waiting()
        asked = k.client.kernel_info()  # the descriptor tells of a message once, perhaps in this very instant
        k.manager.interrupt_kernel()
        assert k.finish(waiting, PATIENCE).error.startswith("KeyboardInterrupt")
        Requests(k).until_replied(asked)
    assert k.run("import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)").text == "True\n"
    waiting = k.submit("print(ended(f))")
    k.until_waiting()
    click(k, comm)
    assert k.finish(waiting, PATIENCE).text == "TaskCancelledError\n"


def test_the_stop_button_ends_a_callback_that_runs_during_a_wait(k: Kernel) -> None:
    waiting = k.submit(
        "f, calls = ex.submit(abs, -1), []\n"
        "def forever(future):\n    calls.append(1)\n    if len(calls) > 1: return  # another update of it\n"
        "    print('stuck', flush=True)\n    while True: time.sleep(0.01)\n"
        "f.on_update(forever); ex.submit(time.sleep, 60).result()"
    )
    k.until(lambda m: m["msg_type"] == "stream" and "stuck" in m["content"]["text"])
    k.manager.interrupt_kernel()
    assert k.finish(waiting, PATIENCE).error.startswith("KeyboardInterrupt")


def test_the_stop_button_in_an_await_cell_ends_the_wait_and_not_the_task(k: Kernel) -> None:
    k.run("f = ex.submit(time.sleep, 60)\nwhile f.state.value != 'running': time.sleep(0.01)")
    busy = "end = time.monotonic() + 0.5\nwhile time.monotonic() < end: pass\n"
    for code in (
        "await f",
        "await asyncio.wait_for(f, 50)",
        "await asyncio.sleep(0); f.result()",
        f"await asyncio.sleep(0)\n{busy}f.result()",
    ):
        waiting = k.submit(f"print('now')\n{code}")
        k.until(lambda m: m["msg_type"] == "stream" and "now" in m["content"]["text"])
        k.manager.interrupt_kernel()
        assert k.finish(waiting, PATIENCE).error.split(":")[0] in ("CancelledError", "KeyboardInterrupt"), code
        assert k.run("print(f.state.value)").text == "running\n", code


@pytest.mark.parametrize("before", ["", "await asyncio.sleep(0); " * 2], ids=["at once", "two rounds later"])
def test_the_stop_button_just_before_an_await_cell_goes_on_to_a_wait(k: Kernel, before: str) -> None:
    """The loop notes the stop button in one round, has the cell go on in the same one, and cancels it in the next."""
    k.run("import signal\nf = ex.submit(time.sleep, 60)\nwhile f.state.value != 'running': time.sleep(0.01)")
    waiting = k.submit(f"{before}signal.raise_signal(signal.SIGINT); await asyncio.sleep(0); f.result()")
    assert k.finish(waiting, PATIENCE).error.split(":")[0] in ("CancelledError", "KeyboardInterrupt")
    assert k.run("print(f.state.value)").text == "running\n"


def test_a_task_of_the_users_that_is_cancelled_cancels_what_it_awaits(k: Kernel) -> None:
    executed = k.run(
        "f = ex.submit(time.sleep, 60)\nt = asyncio.ensure_future(asyncio.wait_for(f, 0.05))\n"
        "try: await t\nexcept asyncio.TimeoutError: pass\nprint(f.state.value)"
    )
    assert executed.text in ("cancelling\n", "cancelled\n")


BACKGROUND = """
ticks = []
async def tick():
    while True:
        ticks.append(1)
        await asyncio.sleep(0.01)
ticker = asyncio.get_running_loop().create_task(tick())
"""


def test_the_users_own_asyncio_tasks_pause_during_a_wait_and_go_on(k: Kernel) -> None:
    k.run(BACKGROUND)
    assert k.run("n = len(ticks); ex.submit(time.sleep, 0.3).result(); print(len(ticks) - n)").text == "0\n"
    assert (
        k.run("n = len(ticks); await asyncio.sleep(0.3); print(len(ticks) > n, ticker.done())").text == "True False\n"
    )
    k.run("ticker.cancel()")


def test_a_wait_in_a_callback_of_the_idle_kernels_loop(k: Kernel) -> None:
    """Nobody there would catch a KeyboardInterrupt: it would end the kernel."""
    comm = card(k)
    background = "async def later(): answers.append(ended(f))\nt = asyncio.get_running_loop().create_task(later())"
    for turn in range(2):
        k.run(f"answers = []\n{background}")
        k.until_waiting()
        if turn == 0:
            k.manager.interrupt_kernel()
            assert k.run("print(t.cancelled(), answers)").text == "True []\n"
        else:
            click(k, comm)
            request = k.submit("print(answers)")
            assert k.finish(request).text == "['TaskCancelledError']\n"
    seen = statuses(k, request)
    before = seen.index((request, "busy"))
    assert seen[before - 1][1] == "idle", "the front end would show a busy kernel"


def test_a_click_during_a_captured_wait(k: Kernel) -> None:
    comm = card(k)
    waiting = k.submit("%%capture out\nprint('x'); display(1)\nended(f); print('y'); display(2)")
    k.until_waiting()
    click(k, comm)
    assert not k.finish(waiting, PATIENCE).error
    assert k.run("print(out.stdout.split(), len(out.outputs))").text == "['x', 'y'] 2\n"


def test_an_extension_of_the_configuration(kernel_version: str) -> None:
    """IPython loads it before the kernel's loop runs."""
    with kernel_of(kernel_version, "--IPKernelApp.extensions=['scaler_notebook']") as k:
        assert "nothing is queued" in k.run("%scaler status").text
        assert k.run(SETUP).text == ""
        comm = card(k)
        waiting = k.submit("print(ended(f))")
        k.until_waiting()
        click(k, comm)
        assert k.finish(waiting, PATIENCE).text == "TaskCancelledError\n"


STRANGE = """
import warnings
class Strange:
    def __getattr__(self, name):
        if name == 'get_parent': raise AttributeError('no get_parent')
        return getattr(real, name)
real = get_ipython().kernel
get_ipython().kernel = Strange()
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter('always')
    from scaler_notebook import *
    ex = NotebookExecutor(n_workers=1)
    print(ex.submit(abs, -1).result(), len(wait([ex.submit(abs, -1)]).done))
print([(w.category.__name__, 'buttons and on_update' in str(w.message)) for w in seen])
get_ipython().kernel = real
"""


def test_a_kernel_that_we_do_not_know_waits_plainly_and_says_once_what_is_lost(kernel_version: str) -> None:
    with kernel_of(kernel_version) as k:
        assert k.run(STRANGE).text == "1 1\n[('RuntimeWarning', True)]\n"
        waiting = k.submit("import time; f = ex.submit(time.sleep, 60); print('now'); f.result()")
        k.until(lambda m: m["msg_type"] == "stream" and "now" in m["content"]["text"])
        k.manager.interrupt_kernel()
        assert k.finish(waiting, PATIENCE).error.startswith("KeyboardInterrupt")
        assert k.run("print(f.cancel())").text == "True\n"
