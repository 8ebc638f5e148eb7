"""``%scaler`` in a real kernel: every command, its help, its completion, and what it says of mistakes."""

from __future__ import annotations

import ast
import json
import re
import runpy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kernel_environments import IPYTHONS
from kernels import PATIENCE, Kernel
from shared_kernels import SharedKernel

from scaler_notebook.notebook.magics.commands import COMMANDS
from scaler_notebook.notebook.settings_store import Settings

ROOT = Path(__file__).parents[2]

SETUP = """
%load_ext scaler_notebook
import time, threading
from functools import partial
import scaler_notebook as sn
def add(x, y=1): print('adding', x); return x + y
def bad(): raise ValueError('no way')
def waits(path):
    import os, time
    print('begun', flush=True)
    while not os.path.exists(path): time.sleep(0.01)
    print('ended')
"""


@pytest.fixture(scope="module", params=IPYTHONS)
def kernel_version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def k(shared_kernel: SharedKernel) -> Iterator[Kernel]:
    with shared_kernel.lent(SETUP) as lent:
        yield lent


# ---------------------------------------------------------------------- submit and map


def test_a_call_has_its_parts_evaluated_here(k: Kernel) -> None:
    """The lock cannot travel; what is asked of it here can."""
    executed = k.run(
        "lock = threading.Lock()\nf = %scaler submit add(lock.locked(), y={1}.pop())\nprint(f.result(), f.call)"
    )
    assert executed.text == "1 add(lock.locked(), y={1}.pop())\n"
    assert k.run("args = [2]; f = %scaler submit add(*args, **{'y': 3})").text == ""
    assert k.run("args = [2]\nf = %scaler submit add(*args, **{'y': 3})\nprint(f.result())").text == "5\n"


def test_another_expression_runs_there_with_the_names_it_uses(k: Kernel) -> None:
    executed = k.run(
        "lock = threading.Lock(); n = 3\nf = %scaler submit [add(i, n) for i in range(n)]\n"
        "print(f.result(), end=f.logs.stdout)"
    )
    assert executed.text == "[3, 4, 5]adding 0\nadding 1\nadding 2\n"
    assert "TaskSerializationError" in k.run("f = %scaler submit lock.locked").error


def test_the_text_reaches_python_untouched(k: Kernel) -> None:
    assert (
        k.run('f = %scaler submit \'$n {n} "q"   x\' + "\\t"\nprint(repr(f.result()))').text
        == "'$n {n} \"q\"   x\\t'\n"
    )


def test_a_comment_is_no_part_of_the_call(k: Kernel) -> None:
    executed = k.run("f = %scaler submit add('#'[1:] == '', y=2)   # it's one of two\nprint(f.result(), '/', f.call)")
    assert executed.text == "3 / add('#'[1:] == '', y=2)\n"
    assert "shown" not in k.run("%scaler submit add(7)# shown").displays[0]["text/plain"]
    executed = k.run(
        "g = %scaler map add, [1, 2], [3, 4]  # pairs\nh = %scaler map add [5]  # one\nprint(g.results(), h.results())"
    )
    assert executed.text == "[4, 6] [6]\n"


def test_a_comment_is_no_part_of_a_command(k: Kernel) -> None:
    k.run("f = %scaler submit time.sleep(60)  # for long")
    assert "cancelled: " in k.run("%scaler cancel time.sleep   # it isn't needed").text
    assert "did you mean --all?" in k.run("%scaler cancel --all# all of them").text
    assert k.run("%scaler # what was it?").text == k.run("%scaler").text
    assert k.run("%scaler help stop # and then?").text == k.run("%scaler stop --help").text
    assert k.run("%scaler submit --help # and then?").text == k.run("%scaler submit --help").text


def test_without_binding_the_card_shows(k: Kernel) -> None:
    executed = k.run("%scaler submit add(1)")
    assert "add(1)" in executed.displays[0]["text/plain"]
    assert "text/html" in executed.displays[0]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (
            "submit nothing_of_that_name(1)",
            "NameError: name 'nothing_of_that_name' is not defined; nothing was submitted",
        ),
        ("submit x = 1", "SyntaxError: invalid syntax: a statement, where an expression is wanted"),
        ("submit add(", "SyntaxError"),
        ("submit await add(1)", "SyntaxError"),
        ("submit 1 / 0 + add(2)", ""),
        ("submit add(1 / 0)", "ZeroDivisionError"),
        ("submit", "an expression is missing"),
        ("submit  # nothing but a comment", "an expression is missing"),
        ("map add", "a function and at least one iterable"),
        ("map add, y=[1]", "a function and at least one iterable"),
        ("map add, 3", "TypeError"),
        ("map --retrys 2 add, [1]", "'--retrys' is not understood; did you mean --retries?"),
        ("map --retries 2", "an expression is missing"),
        ("map --retries add, [1]", "invalid int value: 'add,'"),
        ("map --run-timeout=-1 add, [1]", "'-1' is no number of seconds"),
        ("submit --name", "expected one argument"),
        ("cancle", "did you mean cancel?"),
        ("add(1)", "to run it: %scaler submit add(1)"),
        ("cancel", "takes an id, a name, or --all"),
        ("cancel  # nothing named", "takes an id, a name, or --all"),
        ("status# why", "did you mean status?"),
        ("cancel x --al", "'--al' is not understood; did you mean --all?"),
        ("cancel --all x", "takes an id, a name, or --all"),
        ("cancel 'x", "no closing quotation"),
        ("retry", "takes an id, a name, or --failed"),
        ("config workers=2.5", "workers takes a whole number"),
        ("result no_such_task", "no task of this session is 'no_such_task'"),
        ("connect nowhere", "is no address of a local engine"),
        ("connect tcp://127.0.0.1:9", "nobody answers at tcp://127.0.0.1:9"),
        ("config graec=1", "did you mean grace?"),
        ("config grace", "give grace a value: grace="),
        ("config grace=-1", "at least 0"),
        ("config grace=soon", "grace takes a number of seconds"),
        ("config on_interrupt=perhaps", "one of"),
        ("config workers=0", "at least one worker"),
        ("start --workers 0", "greater than 0"),
        ("history -n many", "'many' is no whole number of at least 1"),
        ("history -n 0", "'0' is no whole number of at least 1"),
    ],
)
def test_a_mistake_is_said_and_what_to_type_instead(k: Kernel, line: str, error: str) -> None:
    request = k.submit(f"%scaler {line}")
    executed = k.finish(request)
    assert not re.search(r"File .*scaler_notebook/", "".join(executed.traceback)), "a frame of this package"
    assert error in (said := executed.error + executed.text)
    assert "?." not in said
    assert "Traceback" not in executed.text


@pytest.mark.parametrize(
    "text",
    ["add, [1, 2], [3, 4]", "add [1, 2], (3, 4)", "lambda x, y: x + y, [1, 2], [3, 4]", "*[add, [1, 2], [3, 4]], "],
)
def test_map(k: Kernel, text: str) -> None:
    executed = k.run(f"g = %scaler map {text}\nprint(g.results())")
    assert executed.text == "[4, 6]\n" if not text.startswith("*") else "a function and" in executed.text


def test_the_debugger_stands_in_the_frame_that_raised(k: Kernel) -> None:
    k.run("def inverse(x):\n    less = x - 1\n    return 1 / less\nf = %scaler submit inverse(1)\nf.exception()")
    request = k.submit("%scaler debug inverse")
    for line in ("p x, less", "q"):
        assert k.client.get_stdin_msg(timeout=PATIENCE)["content"]["prompt"] == "ipdb> "
        k.client.input(line)
    executed = k.finish(request)
    assert "(1, 0)" in executed.text
    plain = re.sub(r"\x1b\[[\d;]*m", "", executed.text)
    assert re.search(r"\(3\)inverse\(\)", plain)
    assert "----> 3     return 1 / less" in plain
    assert executed.error == "ZeroDivisionError: division by zero"
    executed = k.finish(str(k.client.execute("%scaler debug inverse", allow_stdin=False)))
    assert "the debugger needs input" in executed.text
    executed = k.run("f = %scaler submit inverse(3)\nf.result()\n%scaler debug f")
    assert "no task of this session is 'f'" in executed.text, "a variable is no name of a task"
    executed = k.run("%scaler debug inverse")
    assert executed.text == "inverse(3) has raised nothing here\n0.5"


def test_options_of_a_map_and_of_a_call(k: Kernel, tmp_path: Path) -> None:
    k.run(
        "import os\ndef fails_once(path):\n"
        "    if not os.path.exists(path):\n        open(path, 'w').close()\n        1 / 0\n"
        "    return os.path.basename(path)"
    )
    paths = [str(tmp_path / name) for name in "ab"]
    options = "--retries 2 --name='two of them' --priority -1 --run-timeout=60"
    executed = k.run(f"g = %scaler map {options} fails_once, {paths}  # twice\nprint(g.results(), g.name)")
    assert executed.text == "['a', 'b'] two of them\n"
    executed = k.run('f = %scaler submit --name "it\'s one" --timeout 0.1 time.sleep(60)\nsn.wait([f])\nprint(f.call)')
    assert executed.text == "it's one\n"
    assert "timed out" in k.run("f.result()").error


def test_map_of_partials_and_generators(k: Kernel) -> None:
    assert k.run("g = %scaler map partial(add, 1), (i for i in range(2))\nprint(g.results())").text == "[1, 2]\n"


# ---------------------------------------------------------------------- seeing and stopping


def test_status_shows_processes_queue_and_calls(k: Kernel) -> None:
    assert "no engine runs" in k.run("%scaler status").text
    assert "an engine with 1 worker runs at" in k.run("%scaler start -n 1 --idle-timeout 3600").text
    k.run(
        "a = %scaler submit time.sleep(60)\nb = %scaler submit time.sleep(61)\n"
        "while a.state.value != 'running': time.sleep(0.01)"
    )
    executed = k.run("%scaler status")
    assert "time.sleep(60)" in executed.text
    assert "processes that are idle for 3600 s go, and come back on demand" in executed.text
    assert re.search(r"1 running, 1 queued; \d process(es, \d of them spare)?;", executed.text)
    assert "time.sleep(60)" in executed.displays[0]["text/html"]
    assert "the engine runs already, with 1 worker;" in k.run("%scaler start -n 2").text
    assert "2 workers from here on" in k.run("%scaler scale 2").text
    k.run("c = %scaler submit time.sleep(62)\nwhile b.state.value != 'running': time.sleep(0.01)")
    assert "2 running, 1 queued" in k.run("%scaler status").text
    assert "between 1 and 10000, not 0" in k.run("%scaler scale 0").text
    assert "starts until %scaler resume" in k.run("%scaler pause").text
    assert "paused: nothing that is queued starts" in k.run("%scaler status").text
    k.run("a.cancel()\nd = %scaler submit add(1)")
    assert k.run("print(c.state.value, d.state.value)").text == "submitted submitted\n"
    assert k.run("%scaler resume").text == "2 queued tasks may start\n"
    assert k.run("%scaler resume").text == "nothing is paused\n"
    k.run("while c.state.value != 'running': time.sleep(0.01)")
    assert k.run("%scaler stop").text == "stopped; 3 tasks were cancelled\n"
    assert k.run("print(a.cancel_reason.value, '/', d.cancel_reason.value)").text == "stopped / never started\n"
    assert k.run("%scaler stop").text == "no engine runs\n"


def test_which_executor_the_magics_use_is_said_and_can_be_chosen(k: Kernel) -> None:
    k.run("first = sn.NotebookExecutor(n_workers=1)\nfirst.start()\nlater = sn.NotebookExecutor(n_workers=1)")
    assert "no engine runs" in (said := k.run("%scaler status").text)
    assert "the magics submit to later" in said
    assert k.run("%scaler connect first").text == "the magics submit to first from here on\n"
    assert "the magics submit to first" in k.run("%scaler status").text
    assert k.run("f = %scaler submit add(1)\nprint(f.result(), later.is_running)").text == "2 False\n"
    k.run("first.shutdown()")
    assert "first is shut down, and takes no more tasks" in k.run("%scaler connect first").text
    assert "the magics submit to later" in k.run("%scaler status").text
    k.run("later.shutdown()\n%scaler start -n 1")
    assert "the magics submit to an executor of their own" in k.run("%scaler status").text


def test_stop_can_wait(k: Kernel) -> None:
    assert k.run("a = %scaler submit add(1)\n%scaler stop --wait\nprint(a.result(0))").text == "stopped\n2\n"


def test_an_engine_of_another_executor_can_be_connected_to(k: Kernel) -> None:
    k.run("other = sn.NotebookExecutor(n_workers=1)\naddress = other.address")
    address = k.run("print(address)").text.strip()
    assert f"an engine with 1 worker runs at {address}" in k.run(f"%scaler connect {address}").text
    assert f"an engine with 1 worker runs at {address}" in k.run("%scaler connect other.address").text
    assert k.run("f = %scaler submit add(2)\nprint(f.result(), len(other.unfinished()))").text == "3 0\n"
    assert k.run("%scaler stop\nprint(other.submit(add, 3).result())\nother.shutdown()").text == "left\n4\n"


def test_cancel_by_id_by_name_and_all(k: Kernel) -> None:
    k.run("%scaler start -n 1\na = %scaler submit time.sleep(60)\nb = %scaler submit time.sleep(61)")
    identity = k.run("print(b.task_id)").text.strip()
    executed = k.run(f"%scaler cancel {identity}")
    assert "cancelled: never started" in executed.text
    assert f"{identity} has ended already: cancelled: never started" in k.run(f"%scaler cancel {identity}").text
    k.run("c = %scaler submit add(1)\nd = %scaler submit time.sleep(62)")
    executed = k.run("%scaler cancel time.sleep")
    assert executed.text.count("cancelled: ") == 2
    assert k.run("print(c.result(), a.cancelled(), d.cancelled())").text == "2 True True\n"
    assert "no unfinished task 'time.slep': there is none" in k.run("%scaler cancel time.slep").text
    assert k.run("%scaler cancel --all").text == "nothing is queued or running\n"
    k.run("e = %scaler submit time.sleep(60)")
    assert "did you mean time.sleep?" in k.run("%scaler cancel time.slep").text
    assert k.run("%scaler cancel --all --force").text.count("cancelled: ") == 1


def test_a_refusal_says_how_to_force_it(k: Kernel) -> None:
    k.run(
        "%scaler config grace=0.1\n"
        "def stubborn():\n"
        "    while True:\n"
        "        try:\n"
        "            while True: time.sleep(0.01)\n"
        "        except KeyboardInterrupt: pass\n"
        "f = %scaler submit stubborn()\nwhile f.state.value != 'running': time.sleep(0.01)\ntime.sleep(0.3)"
    )
    assert "did not stop; %scaler cancel" in k.run("%scaler cancel stubborn").text
    assert "cancelled: stopped (killed)" in k.run("%scaler cancel stubborn --force").text
    k.run("%scaler config grace=1")


def test_logs_result_and_trace(k: Kernel, tmp_path: Path) -> None:
    k.run(
        f"f = %scaler submit waits({str(tmp_path / 'enough')!r})\nwhile 'begun' not in f.logs.stdout: time.sleep(0.01)"
    )
    assert k.run("%scaler logs waits").text == "begun\n"
    following = k.submit("%scaler logs waits --follow")
    k.until(lambda m: m["msg_type"] == "stream" and m["parent_header"]["msg_id"] == following)
    (tmp_path / "enough").touch()
    assert k.finish(following).text == "begun\nended\n"
    k.run("f = %scaler submit add(20, 22)\nf.result()")
    assert k.run("answer = %scaler result add\nprint(answer)").text == "42\n"
    assert "Success" in k.run("%scaler trace add").text
    assert k.run("answer = %scaler result\nprint(answer)").text == "42\n", "of the last task"
    assert k.run("%scaler trace").text == k.run("%scaler trace add").text
    k.run("f = %scaler submit bad()")
    assert k.run("%scaler result bad").error == "ValueError: no way"


def test_the_stop_button_ends_following_and_leaves_the_task_alone(k: Kernel) -> None:
    k.run("f = %scaler submit waits('/nowhere/at/all')\nwhile 'begun' not in f.logs.stdout: time.sleep(0.01)")
    following = k.submit("%scaler logs waits -f")
    k.until(lambda m: m["msg_type"] == "stream" and m["parent_header"]["msg_id"] == following)
    k.manager.interrupt_kernel()
    assert k.finish(following).error.startswith("KeyboardInterrupt")
    assert k.run("print(f.state.value)").text == "running\n"


def test_retry_of_one_and_of_all_that_failed(k: Kernel) -> None:
    k.run("a = %scaler submit bad()\nb = %scaler submit add(1)\nwait = sn.wait([a, b])")
    assert k.run("c = %scaler retry add\nprint(c.result(), c.task_id != b.task_id)").text == "2 True\n"
    k.run("%scaler stop")  # who submits again now gets another engine
    executed = k.run("g = %scaler retry --failed\nprint({str(e) for e in g.exceptions()} >= {'no way'}, a.failed)")
    assert executed.text == "True True\n"


def test_programs_are_told_in_json(k: Kernel) -> None:
    def told(line: str) -> Any:
        found = json.loads(k.run(line).text)
        assert found.pop("version") == 1
        return found

    assert told("%scaler status --json") == {"engine": None}
    k.run("f = %scaler submit add(1, 2)\ng = %scaler submit bad()\nh = %scaler submit time.sleep(600)")
    result = told("%scaler result add --json")
    assert (result["value"], result["text"], result["task"]["state"]) == (3, "3", "done")
    assert result["task"]["submitted_at"] <= result["task"]["started_at"] <= result["task"]["ended_at"]
    error = told("%scaler result bad --json")["error"]
    assert (error["type"], error["message"]) == ("ValueError", "no way")
    assert "def bad" in error["traceback"]
    assert told("%scaler logs add --json")["output"] == "adding 1\n"
    sleeping = told("%scaler logs time.sleep --json")["task"]["id"]
    end = time.monotonic() + PATIENCE
    assert told("%scaler status --json")["engine"]["idle_timeout"] is None
    while [each["task"] for each in told("%scaler status --json")["engine"]["processes"] if each["task"]] != [sleeping]:
        assert time.monotonic() < end
    k.run("h.cancel()")
    assert set(told("%scaler result time.sleep --json")) == {"task"}
    listed = told("%scaler history --json")["tasks"]
    assert [(each["call"], each["state"]) for each in listed][-3:] == [
        ("add(1, 2)", "done"),
        ("bad()", "failed"),
        ("time.sleep(600)", "cancelled"),
    ]
    assert listed[-2]["error"] == "ValueError: no way"
    assert listed[-1]["reason"]


def test_history_remembers_what_nobody_holds(k: Kernel) -> None:
    k.run("%scaler submit add(1)")
    k.run("a = %scaler submit add(1234)\nb = %scaler submit bad()\nx = sn.wait([a, b])")
    identity = k.run("print(a.task_id)").text.strip()
    k.run("del a, b, x\nimport gc; y = gc.collect()")
    text = k.run("%scaler history -n 2").text
    assert "add(1234)" in text
    assert "failed: ValueError: no way" in text
    assert "earlier ones are left out" in text
    assert k.run(f"%scaler logs {identity}").text == "adding 1234\n"
    assert "TaskResult" in k.run(f"%scaler trace {identity}").text
    assert "nothing in this notebook holds its future" in k.run(f"%scaler result {identity}").text


def test_board_is_shown(k: Kernel) -> None:
    k.run("a = %scaler submit add(1)")
    assert "application/vnd.jupyter.widget-view+json" in k.run("%scaler board").displays[0]


def test_config_shows_and_sets(k: Kernel) -> None:
    names = [*vars(Settings()), "grace", "on_interrupt"]
    text = k.run("%scaler config").text
    assert all(f"{name}=" in text for name in names)
    assert (
        "workers=1 progress_after=0.5 output_lines=3"
        in k.run("%scaler config workers=1 progress-after=0.5 output_lines=3").text
    )
    assert "an engine with 1 worker " in k.run("%scaler start").text
    k.run("def lines():\n    for i in range(9): print(i)\nf = %scaler submit lines()\nf.result()")
    html = k.run("f").displays[0]["text/html"]
    assert ">8<" in html or "8</pre>" in html
    assert "5\n" not in html
    k.run("%scaler config workers=2 progress_after=0.2 output_lines=200")


# ---------------------------------------------------------------------- help and completion


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(k: Kernel, name: str) -> None:
    text = k.run(f"%scaler {name} --help").text
    assert text.startswith(f"usage: %scaler {name}")
    assert COMMANDS[name].summary in text
    assert k.run(f"%scaler help {name}").text == text


def test_the_list_of_commands(k: Kernel) -> None:
    for line in ("%scaler", "%scaler --help", "%scaler help"):
        text = k.run(line).text
        assert all(f"%scaler {name} " in text for name in COMMANDS)


def test_the_docs_show_the_help_of_the_code() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "draw_magics.py"))
    assert tool["PAGE"].read_text() == tool["page"](), "run tools/draw_magics.py"


def complete(k: Kernel, code: str) -> tuple[list[str], int]:
    request = k.client.complete(code, len(code))
    while True:
        reply = k.client.get_shell_msg(timeout=30)
        if reply["parent_header"]["msg_id"] == request:
            return reply["content"]["matches"], reply["content"]["cursor_start"]


def test_completion(k: Kernel) -> None:
    k.run("matrix = 1\n%scaler start -n 1\na = %scaler submit time.sleep(60)\nb = %scaler submit add(1)\nb.cancel()")
    k.run("c = %scaler submit --name 'my fit' time.sleep(60)")
    assert complete(k, "%scaler cancel my")[0] == ["'my fit'"]
    assert complete(k, '%scaler cancel "my f') == (['"my fit"'], 15)
    assert complete(k, "%scaler cancel 'my fit' time.sl")[0] == ["time.sleep"]
    k.run("c.cancel()")
    identity = k.run("print(a.task_id)").text.strip()
    over = k.run("print(b.task_id)").text.strip()
    assert complete(k, "%scaler ") == (list(COMMANDS), 8)
    assert complete(k, "f = %scaler can") == (["cancel"], 12)
    assert complete(k, "x = 1\n%scaler can") == (["cancel"], 14)
    assert complete(k, "%scaler cancel --fo")[0] == ["--force"]
    assert complete(k, f"%scaler cancel {identity[:4]}")[0] == [identity]
    assert complete(k, "%scaler cancel ti")[0] == ["time.sleep"]
    assert {identity, over, "add"} <= set(complete(k, "%scaler logs ")[0])
    assert complete(k, "%scaler config on")[0] == ["on_interrupt="]
    assert complete(k, "%scaler config on_interrupt=")[0] == ["ask", "cancel", "leave"]
    assert complete(k, "%%scaler --o")[0] == ["--out"]
    assert complete(k, "%scaler submit matr")[0] == ["matrix"]
    assert complete(k, "f = %scaler submit time.sle")[0] == ["time.sleep"]
    assert complete(k, "g = %scaler map --run")[0] == ["--run-timeout"]
    assert complete(k, "g = %scaler map --retries 2 matr")[0] == ["matrix"]
    assert complete(k, "f = %scaler submit '#' + matr")[0] == ["matrix"]
    for commented in ("%scaler submit add(1)  # matr", "%scaler cancel add # time.sl", "%%scaler --wait # --o"):
        assert not {"matrix", "time.sleep", "--out"} & set(complete(k, commented)[0]), commented
    assert "matrix" in complete(k, "print(matr")[0]


def test_other_clients_are_told_no_code(k: Kernel) -> None:
    k.run("a = %scaler submit time.sleep(600) or 's3cret'\nb = %scaler submit [time.sleep(600), 's3cret']")
    k.run("c = %scaler submit --name 'a (name)' time.sleep(600)")
    k.run("%%scaler --progress-after 0\nkey = 's3cret'\ntime.sleep(600)")
    k.run("d = _\nfrom scaler_notebook.cli.user_engines import task_forms")
    address = json.loads(k.run("%scaler status --json").text)["engine"]["address"]
    executed = k.run(f"print([task['call'] for engine in task_forms({address!r}) for task in engine['tasks']])")
    assert sorted(ast.literal_eval(executed.text)) == sorted(["time.sleep", "…", "a (name)", "key"]), executed.error
    k.run("for future in (a, b, c, d): future.cancel()")
