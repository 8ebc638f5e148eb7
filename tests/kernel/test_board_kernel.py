"""Boards in a real kernel: what they send to a front end, and what they are without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kernels import Kernel, card_id, run_notebook
from shared_kernels import SharedKernel, patch

from scaler_notebook.notebook.views.board.board_row import KINDS

SETUP = """
import os, threading, time
%load_ext scaler_notebook
from scaler_notebook import *
import ipywidgets
ex = NotebookExecutor(n_workers=2, grace=0.3)
def fit(n, gate="/"):
    while not os.path.exists(gate): time.sleep(0.01)
    if n == 13: raise ValueError(f"model {n} does not converge")
    return n
"""


@pytest.fixture
def k(shared_kernel: SharedKernel) -> Iterator[Kernel]:
    with shared_kernel.lent(SETUP) as lent:
        yield lent


def sent_to(message: dict[str, Any], comm: str) -> dict[str, Any]:
    content = message["content"]
    if message["msg_type"] != "comm_msg" or content["comm_id"] != comm:
        return {}
    found: dict[str, Any] = content["data"].get("content", {})
    return found if found.get("type") == "rows" else {}


def wait_for(k: Kernel, comm: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    return sent_to(k.until(lambda m: bool(found := sent_to(m, comm)) and wanted(found)), comm)


def static(k: Kernel, words: str) -> dict[str, Any]:
    message = k.until(
        lambda m: m["msg_type"] == "update_display_data" and words in m["content"]["data"].get("text/plain", "")
    )
    bundle: dict[str, Any] = message["content"]["data"]
    return bundle


WIDGET = "application/vnd.jupyter.widget-view+json"


def test_a_list_of_futures_is_a_board_and_any_other_list_is_not(k: Kernel) -> None:
    executed = k.run("[ex.submit(fit, n) for n in range(3)]")
    assert "3 tasks: " in executed.displays[0]["text/plain"]
    assert WIDGET in executed.displays[0]
    assert k.run("print(len(_))").text == "3\n"
    assert k.run("[1, 2]").displays == [{"text/plain": "[1, 2]"}]
    assert k.run("[ex.submit(fit, 1), 2]").displays[0]["text/plain"].startswith("[<ScalerFuture")


def test_a_group_is_displayed_as_a_board_that_goes_on_answering(k: Kernel, tmp_path: Path) -> None:
    patch(k, "scaler_notebook.notebook.views.board.display", LIVE_INTERVAL=0.2)
    gate = tmp_path / "open"
    executed = k.run(f"group = ex.map_async(fit, range(20), [{str(gate)!r}] * 20)\ngroup")
    assert "fit × 20: " in executed.displays[0]["text/plain"]
    comm = card_id(executed)
    k.send_comm(comm, {"type": "ready"})
    first = wait_for(k, comm, lambda m: m.get("whole", False))
    assert (first["title"], first["newest_first"]) == ("fit × 20", False)
    assert len(first["columns"][0]) == 20
    gate.touch()
    ended = static(k, "19 done · 1 failed")
    assert "does not converge" in ended["text/plain"]
    assert "does not converge" in ended["text/html"]
    assert WIDGET not in ended, "a file shows how it ended"
    k.send_comm(comm, {"type": "open", "row": 13})
    detail = wait_for(k, comm, lambda m: bool(m["details"]))["details"][0]
    assert detail["row"]["error"] == "ValueError: model 13 does not converge"
    assert "TaskResult" in detail["trace"]
    k.send_comm(comm, {"type": "open", "row": 3})
    wait_for(k, comm, lambda m: any(d["number"] == 3 and d["row"]["result"] == "3" for d in m["details"]))
    processors = k.run("print(*{f.processor for f in group})").text.split()
    assert processors
    assert all(processor.isdigit() for processor in processors)


def test_a_group_that_is_still_submitted_has_its_board_already(k: Kernel, tmp_path: Path) -> None:
    patch(k, "scaler_notebook.client.futures.growing_group", SOON=0.0)
    patch(k, "scaler_notebook.notebook.views.board.display", DRAW_PATIENCE=0.0)
    gate = tmp_path / "open"
    k.run("def numbers(gate):\n    yield 0\n    while not os.path.exists(gate): time.sleep(0.01)\n    yield 1")
    running = k.submit(f"%time _ = 1\ngroup = ex.map_async(fit, numbers({str(gate)!r}))\ngroup")
    shown = k.until(lambda m: m["msg_type"] == "display_data" and WIDGET in m["content"]["data"])
    comm = shown["content"]["data"][WIDGET]["model_id"]
    assert shown["content"]["data"]["text/plain"].startswith("fit: 1 ")
    gate.touch()
    assert len(k.finish(running).displays) == 1
    k.send_comm(comm, {"type": "ready"})
    whole = wait_for(k, comm, lambda m: m.get("whole", False))
    assert (whole["title"], len(whole["columns"][0])) == ("fit × 2", 2)
    assert "fit × 2: " in k.run("group").displays[0]["text/plain"]


def test_a_large_group_has_its_board_before_it_is_submitted_and_lets_it_be_drawn(k: Kernel) -> None:
    patch(k, "scaler_notebook.client.futures.growing_group", MANY=20, SOON=60.0)
    patch(k, "scaler_notebook.notebook.views.board.display", DRAW_PATIENCE=10.0)
    k.run("from scaler_notebook.notebook.views.board.display import GroupBoard; GroupBoard.awaited_from = 0.0")
    running = k.submit("group = ex.map_async(fit, range(20))\ngroup")
    shown = k.until(lambda m: m["msg_type"] == "display_data" and WIDGET in m["content"]["data"])
    comm = shown["content"]["data"][WIDGET]["model_id"]
    k.send_comm(comm, {"type": "ready"})
    whole = wait_for(k, comm, lambda m: m.get("whole", False))
    assert (whole["title"], len(whole["columns"][0])) == ("fit", 1), "no other task was submitted meanwhile"
    assert len(k.finish(running).displays) == 1


def test_a_click_on_cancel_all_while_a_cell_waits(k: Kernel) -> None:
    patch(k, "scaler_notebook.notebook.views.board.display", LIVE_INTERVAL=0.2)
    comm = card_id(k.run("group = ex.map_async(time.sleep, [60] * 50)\ngroup"))
    k.send_comm(comm, {"type": "ready"})
    wait_for(k, comm, lambda m: m.get("whole", False))
    k.run("while {f.state for f in group[:2]} != {TaskState.RUNNING}: time.sleep(0.01)")
    waiting = k.submit("print(group.wait(), {f.cancel_reason.value for f in group} == {'stopped', 'never started'})")
    k.until(lambda m: m["msg_type"] == "execute_input" and m["parent_header"]["msg_id"] == waiting)
    k.send_comm(comm, {"type": "cancel", "rows": "all", "force": False})
    assert k.finish(waiting).text == "True True\n"
    assert WIDGET not in static(k, "50 cancelled")


JOBLIB = """
from joblib import Parallel, delayed, parallel_config
with parallel_config(backend=ex.joblib_backend()):
    found = list(Parallel(n_jobs=2, batch_size=1, {options})(delayed({call})({argument}) for _ in range(6)))
"""


def test_a_call_of_joblib_is_a_board_that_grows(k: Kernel) -> None:
    executed = k.run(JOBLIB.format(call="fit", argument="3", options=""))
    assert [display["text/plain"].splitlines()[0] for display in executed.displays] == ["joblib: fit: no tasks"]
    k.send_comm(card_id(executed), {"type": "ready"})
    whole = wait_for(k, card_id(executed), lambda m: m.get("whole", False))
    assert (whole["title"], len(whole["columns"][0])) == ("joblib: fit", 6)
    assert k.run("found").text == "[3, 3, 3, 3, 3, 3]"


@pytest.mark.parametrize("options", ["", "timeout=600", 'return_as="generator"', 'return_as="generator_unordered"'])
def test_a_click_on_cancel_all_ends_a_call_of_joblib(k: Kernel, options: str) -> None:
    waiting = k.submit(JOBLIB.format(call="time.sleep", argument="60", options=options))
    shown = k.until(lambda m: m["msg_type"] == "display_data" and WIDGET in m["content"]["data"])
    comm = shown["content"]["data"][WIDGET]["model_id"]
    k.send_comm(comm, {"type": "ready"})
    wait_for(k, comm, lambda m: KINDS.index("running") in m.get("columns", [[], []])[1])
    k.send_comm(comm, {"type": "cancel", "rows": "all", "force": False})
    ended = {f"TaskCancelledError: sleep: {reason}" for reason in ("stopped", "never started")}
    assert k.finish(waiting).error in ended
    assert k.run("ex.unfinished()").text == "[]"


def test_the_board_of_the_session_shows_what_is_submitted_later_and_elsewhere(k: Kernel) -> None:
    k.run("old = ex.submit(fit, 1); old.result()")
    comm = card_id(k.run("%scaler board"))
    k.send_comm(comm, {"type": "ready"})
    first = wait_for(k, comm, lambda m: m.get("whole", False))
    assert len(first["columns"][0]) == 1
    assert first["newest_first"] is True
    k.run("other = NotebookExecutor(n_workers=1); threading.Thread(target=lambda: other.submit(fit, 2)).start()")
    wait_for(k, comm, lambda m: m.get("numbers") == [1] and m["columns"][1] == [KINDS.index("done")])
    assert "%scaler board" in k.run("%scaler board nonsense").text


def test_without_a_front_end_the_board_becomes_html_that_says_how_to_stop(k: Kernel) -> None:
    patch(k, "scaler_notebook.notebook.views.live_display", READY_PATIENCE=0.2)
    executed = k.run("group = ex.map_async(time.sleep, [60] * 3)\ngroup")
    comm = card_id(executed)
    bundle = static(k, "running")
    assert WIDGET not in bundle
    assert "%scaler cancel --all" in bundle["text/html"]
    assert "%scaler status" in bundle["text/html"]
    k.run("group.cancel()")
    ended = static(k, "3 cancelled")
    assert WIDGET not in ended
    assert "as long as this kernel runs, %scaler board shows" in ended["text/html"]
    assert "%scaler cancel" not in ended["text/html"]
    k.run("1")
    static(k, "3 cancelled")  # once more, for who listens only while a cell runs
    k.run("group.retry(group)")
    k.send_comm(comm, {"type": "here"})
    k.until(lambda m: WIDGET in m["content"].get("data", {}))  # who comes late gets the live board
    k.run("group.cancel()")


OPEN = "print(len(get_comm_manager().comms))"


@pytest.mark.parametrize("shown", ["group", "%scaler board", "ex"])
def test_cells_that_run_again_leave_the_newest_views_alone_open(k: Kernel, shown: str) -> None:
    patch(k, "scaler_notebook.notebook.views.board.display", MAX_KEPT=2)
    patch(k, "scaler_notebook.notebook.views.engine.display", MAX_KEPT=2)
    k.run("from comm import get_comm_manager\ngroup = ex.map_async(abs, range(3)); group.results()")
    comms = [card_id(k.run(shown)) for _ in range(2)]
    before = k.run(OPEN).text
    comms += [card_id(k.run(shown)) for _ in range(6)]
    assert k.run(OPEN).text == before
    assert (
        k.run(f"print([each in get_comm_manager().comms for each in {comms}])").text == f"{[False] * 6 + [True] * 2}\n"
    )


def test_a_board_that_no_page_has_is_closed_unless_its_tasks_run(k: Kernel, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    k.run(f"from comm import get_comm_manager\ngroup = ex.map_async(fit, range(3), [{str(gate)!r}] * 3)")
    comm = card_id(k.run("group"))
    for message in ("ready", "left"):
        k.send_comm(comm, {"type": message, "view": "one"})
    is_open = f"print({comm!r} in get_comm_manager().comms)"
    k.run("group")
    assert k.run(is_open).text == "True\n"
    gate.touch()
    k.run("group.results()")
    static(k, "3 done")
    k.run("group")
    assert k.run(is_open).text == "False\n"


def test_the_view_of_an_executor_that_is_shut_down_needs_no_kernel(k: Kernel) -> None:
    comm = card_id(k.run("own = NotebookExecutor(n_workers=1)\nown"))
    k.send_comm(comm, {"type": "ready"})
    k.run("own.submit(abs, 1).result(); own.shutdown()")
    assert WIDGET not in static(k, "an engine that is shut down")


def test_widgets_for_layouts_live_until_they_are_closed(k: Kernel) -> None:
    k.run("f, g = ex.submit(time.sleep, 60), ex.map_async(time.sleep, [60])")
    comms = k.run(
        "card, board = f.widget(), g.widget()\n"
        "box = ipywidgets.VBox([card, board])\n"
        "print(card.model_id, board.model_id)"
    )
    card, board = comms.text.split()
    for comm in (card, board):
        k.send_comm(comm, {"type": "ready"})
    wanted = {card: "row", board: "whole"}  # in whichever order they come

    def both_have_come(message: dict[str, Any]) -> bool:
        comm = message["content"].get("comm_id")
        if comm in wanted and message["content"]["data"].get("content", {}).get(wanted[comm]):
            del wanted[comm]
        return not wanted

    k.until(both_have_come)
    k.send_comm(card, {"type": "cancel", "force": False})
    k.send_comm(board, {"type": "cancel", "rows": [0], "force": False})
    assert k.run("print(f.exception and wait([f, *g], 10)[1] == set())").text == "True\n"
    wait_for(k, board, lambda m: m.get("numbers") == [0] and m["columns"][1] == [KINDS.index("cancelled")])
    k.run(
        "h = ex.submit(time.sleep, 60)\n"
        "while h.state.value != 'running': time.sleep(0.01)\n"
        "others = len(h._watchers)\n"
        "w = h.widget(); v = FutureGroup([h]).widget(); w.close(); v.close(); h.cancel()"
    )
    assert k.run("time.sleep(0.3); print(len(h._watchers) - others)").text == "0\n"


def test_a_notebook_that_runs_without_a_browser_keeps_how_a_group_ended(shared_kernel: SharedKernel) -> None:
    with shared_kernel.lent() as k:
        notebook = run_notebook(
            k,
            [
                "%load_ext scaler_notebook\nfrom scaler_notebook import NotebookExecutor\nimport time\n"
                "ex = NotebookExecutor(n_workers=1)",
                "during = ex.map_async(abs, range(3))\nduring",
                "during.results()",
                "between = ex.map_async(abs, range(4))\nbetween",
                "while not between.done(): pass",
                "%scaler board",
                "last = ex.map_async(abs, range(5))\nlast",
                "last.results()",
            ],
        )
    shown = [notebook.cells[cell].outputs[0]["data"]["text/plain"].splitlines()[0] for cell in (1, 3, 5, 6)]
    assert shown == ["abs × 3: 3 done", "abs × 4: 4 done", "all tasks of this session: 12 done", "abs × 5: 5 done"]
