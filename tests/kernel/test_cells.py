"""``%%scaler`` in a real kernel: what travels, what comes back, what is shown, and what is said of mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_injection import eventually
from kernel_environments import IPYTHONS
from kernels import Executed, Kernel
from shared_kernels import SharedKernel

SETUP = """
%load_ext scaler_notebook
%scaler config workers=1 progress_after=20
import time, os, threading
import numpy as np
import scaler_notebook as sn
N = 5
data = [1, 2, 3]
def scaled(x): return x * N
"""


@pytest.fixture(scope="module", params=IPYTHONS)
def kernel_version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def k(shared_kernel: SharedKernel) -> Iterator[Kernel]:
    with shared_kernel.lent(SETUP) as lent:
        yield lent


def bundle(executed: Executed) -> dict[str, Any]:
    """Of the card."""
    assert not executed.error, executed
    return executed.displays[0]


def result(k: Kernel, cell: str) -> str:
    """Run a cell; what its future gives, as it prints."""
    bundle(k.run(cell))
    return k.run("print(dict(_.result()))").text.strip()


def shown(k: Kernel, cell: str) -> str:
    """The HTML of the card of a cell that ends at once."""
    return str(bundle(k.run(cell))["text/html"])


# ---------------------------------------------------------------------- names


def test_names_that_it_reads_travel_and_those_it_assigns_come_back(k: Kernel) -> None:
    assert result(k, "%%scaler\ntotal = sum(data) + N\nsquares = {n: n * n for n in data}") == (
        "{'squares': {1: 1, 2: 4, 3: 9}, 'total': 11}"
    )
    assert k.run("print('total' in globals())").text == "False\n"


def test_what_it_changes_stays_in_the_task(k: Kernel) -> None:
    assert result(k, "%%scaler\ndata.append(4)\nlength = len(data)") == "{'length': 4}"
    assert k.run("print(data)").text == "[1, 2, 3]\n"


def test_functions_of_the_notebook_see_what_the_cell_assigns(k: Kernel) -> None:
    assert result(k, "%%scaler\nN = 7\ny = scaled(3)") == "{'N': 7, 'y': 21}"
    assert result(k, "%%scaler\ny = scaled(3)") == "{'y': 15}", "a former cell has left its names behind"


def test_an_older_value_of_what_it_assigns_first_does_not_travel(k: Kernel) -> None:
    k.run("lock = threading.Lock()")
    assert result(k, "%%scaler\nlock = 3\ndouble = lock * 2") == "{'double': 6, 'lock': 3}"


def test_a_name_may_shadow_a_builtin(k: Kernel) -> None:
    k.run("list = 'mine'")
    assert result(k, "%%scaler\nx = list") == "{'x': 'mine'}"
    k.run("del list")
    assert result(k, "%%scaler\nx = list('ab')") == "{'x': ['a', 'b']}"


def test_a_comment_may_follow_the_magic_and_its_options(k: Kernel) -> None:
    assert result(k, "%%scaler # just a comment\nx = N") == "{'x': 5}"
    k.run("%%scaler --out commented --name 'no. #1'  # isn't N read, too?\ncommented = N")
    assert k.run("print(commented, _.call)").text == "5 no. #1\n"
    executed = k.run("%%scaler --wait  # line 1\n1 / 0")
    assert executed.error.startswith("ZeroDivisionError")


def test_out_puts_names_into_the_notebook(k: Kernel) -> None:
    k.run("%%scaler --out first,second\nfirst = N\nsecond = np.arange(3)\nthird = 3")
    assert k.run("print(first, second, 'third' in globals())").text == "5 [0 1 2] False\n"
    assert k.run("print(sorted(_.result()))").text == "['first', 'second']\n"


@pytest.mark.parametrize("options", ["", " --wait", " --wait --progress-after 0"])
def test_out_is_there_for_the_next_cell_if_this_one_has_waited_for_the_end(k: Kernel, options: str) -> None:
    """However busy callbacks are: a notebook may be run from its top to its end."""
    k.run(
        "f = %scaler submit time.sleep(60)\nbusy, free, passed = [threading.Event() for _ in range(3)]\n"
        "f.add_done_callback(lambda _: (busy.set(), free.wait(20)))\nf.request_cancel()\nassert busy.wait(20)"
    )
    k.run(f"%%scaler --out held{options}\nheld = N")
    assert k.run("print(held, free.is_set())\nheld = 'changed'").text == "5 False\n"
    passes = (
        "from scaler_notebook.client.waiting import callback_thread\n"
        "callback_thread.post(passed.set)\nassert passed.wait(20)"
    )
    assert not k.run(f"free.set()\n{passes}").error
    assert k.run("print(held)").text == "changed\n"


def test_out_of_everything_brings_modules_and_functions_too(k: Kernel) -> None:
    k.run(
        "%%scaler --out '*'\nimport string\nfrom os.path import join\n"
        "def halved(x): return x / N\nclass Thing: size = N"
    )
    assert k.run("print(string.digits[:2], join('a', 'b'), halved(5), Thing().size)").text == "01 a/b 1.0 5\n"


WAITS = (
    "_.result()",
    "sn.wait([_])",
    "next(sn.as_completed([_]))",
    "_.exception()",
    "sn.gather(_)",
    "await _",
    "[each async for each in sn.as_completed_async([_])]",
)


def test_out_arrives_while_a_cell_waits_in_the_kernel(k: Kernel) -> None:
    """Whoever waits for the task has its names then, in the very line that follows."""
    for number in range(5):
        cell = f"%%scaler --out late --progress-after 0\ntime.sleep(0.05)\nlate = {number}"
        assert not k.run(cell).error
        assert k.run("_.result(); print(late)").text == f"{number}\n"
    until_ended = "\nwhile not _.done(): time.sleep(0.001)\n"  # so that the wait below has nothing to wait for
    for number, wait in enumerate(WAITS):
        assert not k.run(f"%%scaler --out late --progress-after 0\ntime.sleep(0.05)\nlate = {number}").error
        assert k.run(f"import time{until_ended}{wait}\nprint(late)").text == f"{number}\n"
    assert not k.run("%%scaler --out late --progress-after 0\ntime.sleep(0.05)\nlate = 'next'").error
    assert k.run("sn.wait([_])\nprint(late)").text == "next\n"


def test_out_of_a_task_that_fails_or_is_cancelled_changes_nothing(k: Kernel) -> None:
    k.run("kept = 'old'")
    k.run("%%scaler --out kept\nkept = 'new'\n1 / 0")
    k.run("%%scaler --out kept --progress-after 0\nkept = 'new'\ntime.sleep(60)")
    k.run("_.cancel()")
    assert k.run("print(kept)").text == "old\n"


def test_a_cell_reads_a_name_that_a_running_cell_will_bring(k: Kernel) -> None:
    promise = "%%scaler --out {0} --progress-after 0\nimport time\ntime.sleep(0.2)\n{0} = 41"
    k.run(promise.format("promised").replace("0.2", "20"))
    magics = ("%scaler submit promised + 1", "%scaler submit max(promised, 1)", "%scaler map str, [promised]")
    for reads in ("promised + 1", "%%scaler\npromised + 1", *magics, "%%scaler --in promised\n1"):
        executed = k.run(reads)
        assert executed.error.startswith("NameError")
        assert "promised will come from task " in executed.error + executed.text
    k.run("_.cancel()")
    assert "promised was to come from task " in k.run("promised").text
    k.run(promise.format("promised"))
    assert "wait_for_names takes on or off" in k.run("%scaler config wait_for_names=1").text
    assert "wait_for_names=on" in k.run("%scaler config wait_for_names=on").text
    assert k.run("print(promised + 1)").text == "42\n"
    for reads, value in (
        ("fut = %scaler submit brought + 1", 42),
        ("futs = %scaler map lambda n: n + 1, [brought]\nfut = futs[0]", 42),
        ("brought = 1\nfut = %scaler submit brought + 1", 2),
    ):
        k.run("brought = None\ndel brought")
        k.run(promise.format("brought"))
        executed = k.run(f"{reads}\nprint(fut.result())")
        assert executed.text == f"{value}\n", executed.error
    k.run(promise.format("more"))
    k.run("%%scaler --out most --progress-after 0\nmost = more + 1")
    assert k.run("print(most)\nmost = 'mine'").text == "42\n"
    k.run("%%scaler --out most --progress-after 0\nmost = time.sleep(0.2) / 0")
    executed = k.run("print(most)")
    assert executed.text.count("mine") == 1
    assert "which failed; most is as it was before" in executed.text
    assert "wait_for_names=off" in k.run("%scaler config wait_for_names=off").text


def test_in_sends_what_the_code_does_not_show(k: Kernel) -> None:
    assert "NameError" in k.run("%%scaler --wait\nx = eval('N + 1')").error
    assert result(k, "%%scaler --in N,data\nx = eval('N + len(data)')") == "{'x': 8}"


def test_what_cannot_come_back_stays_and_is_said(k: Kernel) -> None:
    executed = k.run("%%scaler\nhandle = open(os.devnull, 'wb')\ngenerator = (i for i in data)\nn = 1")
    assert k.run("print(_.result(), list(_.result()))").text == "<names of a cell: n> ['n']\n"
    html = bundle(executed)["text/html"]
    assert "handle stays in the task" in html
    assert "generator stays in the task" in html


def test_classes_of_a_cell_pickle_within_it(k: Kernel) -> None:
    cell = (
        "%%scaler\nimport pickle\nclass Point:\n    def __init__(self): self.x = N\n"
        "p = pickle.loads(pickle.dumps(Point())).x"
    )
    assert "'p': 5" in result(k, cell)


def test_a_large_array_travels_once_and_only_again_if_it_changes_or_is_forced_to(k: Kernel) -> None:
    k.run("big = np.zeros(3_000_000)\nimport scaler_notebook.notebook.magics.session_executor as se")
    k.run("e = se.current(); e.start(); segments = e._session.engine._segments")
    count = "print(len({s.fd for s in segments._current.values()}), [s.fd for s in segments._current.values()][-1:])"
    assert result(k, "%%scaler\ntotal = float(big.sum())") == "{'total': 0.0}"
    once = k.run(count).text
    assert result(k, "%%scaler\nlength = len(big)") == "{'length': 3000000}"
    assert k.run(count).text == once
    assert result(k, "%%scaler --force-copy\nlength = len(big) + 1") == "{'length': 3000001}"
    assert k.run(count).text != once
    k.run("big[0] = 1")
    assert result(k, "%%scaler\ntotal = float(big.sum())") == "{'total': 1.0}"


def test_a_very_large_variable_is_named_with_its_size(k: Kernel) -> None:
    executed = k.run("huge = np.empty(30_000_000)\nhuge2 = huge[:2]")
    executed = k.run("%%scaler\nn = len(huge)")
    assert "huge has 0.2 GB" in executed.text
    k.run("del huge, huge2")


# ---------------------------------------------------------------------- code


def test_the_last_expression_is_displayed_as_a_cell_would(k: Kernel) -> None:
    assert "[1, 2, 3]" in shown(k, "%%scaler\ndata")
    assert "[1, 2, 3]" not in shown(k, "%%scaler\ndata;")
    assert "scaler-result" not in shown(k, "%%scaler\nNone")
    html = shown(k, "%%scaler\nimport pandas as pd\npd.DataFrame({'a': data})")
    assert "<table" in html
    assert "<table" in shown(k, "%%scaler\nimport pandas as pd\ndisplay(pd.DataFrame({'a': data}))\nx = 1")


def test_text_and_displays_are_shown_in_their_order(k: Kernel) -> None:
    html = shown(
        k,
        "%%scaler\nfrom IPython.display import HTML\n"
        "print('first')\ndisplay(HTML('<b>second</b>'))\nos.system('echo third')\n"
        "display(HTML('<i>fourth</i>'))\nprint('fifth')\n6",
    )
    places = [html.index(text) for text in ("first", "<b>second</b>", "third", "<i>fourth</i>", "fifth", ">\n6<")]
    assert places == sorted(places)


def test_figures_land_in_the_card(k: Kernel) -> None:
    executed = k.run("%%scaler\nimport matplotlib.pyplot as plt\nplt.plot([1, 2, 3]);", 60)
    assert 'src="data:image/png;base64,' in bundle(executed)["text/html"]


def test_what_the_front_end_alone_can_render_is_displayed_beside_the_card(k: Kernel) -> None:
    cell = "%%scaler\ndisplay({'application/vnd.plotly.v1+json': {'data': []}}, raw=True)"
    executed = k.run(cell)
    k.until(lambda m: "application/vnd.plotly.v1+json" in m["content"].get("data", {}))
    assert "scaler-result" not in bundle(executed)["text/html"]


def test_plotly_figures_are_displayed_by_the_front_end(k: Kernel) -> None:
    for shown in ("figure", "figure.show()"):
        code = f"%%scaler\nimport plotly.graph_objects as go\nfigure = go.Figure(go.Bar(y=data))\n{shown}"
        executed = k.run(code, 60)
        k.until(lambda m: "application/vnd.plotly.v1+json" in m["content"].get("data", {}))
        assert len(bundle(executed)["text/html"]) < 10_000, shown


def test_widgets_show_their_static_forms(k: Kernel) -> None:
    executed = k.run("%%scaler\nimport ipywidgets\nipywidgets.IntSlider()", 60)
    assert "IntSlider" in bundle(executed)["text/plain"]
    assert "widget-view" not in bundle(executed)["text/html"]


def test_magics_and_shell_commands(k: Kernel, tmp_path: Path) -> None:
    html = shown(
        k, f"%%scaler\n%cd {tmp_path}\n!echo shell $N {{N + 1}}\nfiles = !ls\n%time t = scaled(2)\nprint(t, files)"
    )
    assert "shell 5 6" in html
    assert "10 []" in html
    assert "CPU times" in html


def test_functions_of_the_notebook_that_ask_for_the_shell_get_the_tasks(k: Kernel) -> None:
    k.run("def listed(): return get_ipython().getoutput('echo one; echo two'), os.getpid()")
    assert result(k, "%%scaler\nlines, pid = listed()\nlines = list(lines)").startswith("{'lines': ['one', 'two']")
    assert k.run("f = %scaler submit listed()\nprint(f.result()[1] != os.getpid())").text == "True\n"


def test_await_works(k: Kernel) -> None:
    cell = (
        "%%scaler\nimport asyncio\nasync def two(): return 2\nx = await two()\n"
        "ys = [y async for y in (await two() for _ in data)]"
    )
    assert "'x': 2, 'ys': [2, 2, 2]" in result(k, cell)


def test_a_task_that_awaits_can_be_cancelled(k: Kernel) -> None:
    k.run("%%scaler --progress-after 0\nimport asyncio\nprint('begun', flush=True)\nawait asyncio.sleep(60)")
    assert (
        k.run("f = _\nwhile 'begun' not in f.logs.stdout: time.sleep(0.01)\nprint(f.cancel(force=False))").text
        == "True\n"
    )


def test_output_of_c_code_and_subprocesses_is_the_tasks_and_carriage_returns_paint_over(k: Kernel) -> None:
    html = shown(
        k,
        "%%scaler\nimport subprocess, ctypes\nsubprocess.run(['echo', 'of a child'])\n"
        "ctypes.CDLL(None).puts(b'of C')\nprint('10%\\r20%\\r30%')",
    )
    assert "of a child" in html
    assert "of C" in html
    assert "30%" in html
    assert "20%" not in html


def test_a_traceback_shows_the_cells_own_lines_and_numbers(k: Kernel) -> None:
    executed = k.run("%%scaler\n\ndef f(x):\n    return x / 0  # the culprit\nf(data[0])")
    text = bundle(executed)["text/plain"]
    assert "ZeroDivisionError" in text
    assert f"In[{executed.number}], line 4, in f: return x / 0  # the culprit" in text
    html = bundle(executed)["text/html"]
    assert "line 5" in html
    assert "f(data[0])" in html
    assert "scaler_notebook/" not in html


# ---------------------------------------------------------------------- options


def test_the_title_is_the_name_or_the_first_line_of_code(k: Kernel) -> None:
    assert "fitting the model" in shown(k, "%%scaler --name 'fitting the model'\nx = 1")
    assert "<code" in shown(k, "%%scaler\n# a remark\n\nx = 1\ny = 2")
    assert k.run("print(_.call)").text == "x = 1 …\n"


def test_wait_waits_and_raises(k: Kernel) -> None:
    executed = k.run("%%scaler --wait --out waited\ntime.sleep(0.1)\nwaited = 1")
    assert not executed.error
    assert k.run("print(waited)").text == "1\n"
    assert k.run("%%scaler --wait\n1 / 0").error == "ZeroDivisionError: division by zero"


def test_the_stop_button_ends_a_wait_from_its_first_moment(k: Kernel, tmp_path: Path) -> None:
    """Also in the moment that a task gets before it is shown."""
    begun = tmp_path / "begun"
    code = f"time.sleep(0.3)\nopen({str(begun)!r}, 'w').close()\ntime.sleep(600)"  # by then the cell waits
    waiting = k.submit(f"%%scaler --wait --progress-after 60\n{code}")
    eventually(begun.exists, "the task has begun")
    k.manager.interrupt_kernel()
    executed = k.finish(waiting)
    assert executed.error.startswith("KeyboardInterrupt")
    assert "running" in executed.displays[0]["text/plain"]


def test_a_task_that_takes_longer_gets_a_live_card_at_once(k: Kernel) -> None:
    executed = k.run("%%scaler --progress-after 0.05\ntime.sleep(60)")
    assert "application/vnd.jupyter.widget-view+json" in bundle(executed)
    k.run("_.cancel()")
    assert "application/vnd.jupyter.widget-view+json" not in bundle(k.run("%%scaler\nx = 1"))


def test_a_deadline_cancels(k: Kernel) -> None:
    k.run("%%scaler --timeout 0.2 --progress-after 0\ntime.sleep(60)")
    assert k.run("f = _\nsn.wait([f])\nprint(f.cancel_reason.value)").text == "timed out\n"
    k.run("%%scaler --run-timeout 0.2 --progress-after 0\ntime.sleep(60)")
    assert "its run_timeout of 0.2 s is over" in k.run("_.result()").error


def test_retries(k: Kernel, tmp_path: Path) -> None:
    mark = str(tmp_path / "tried")
    executed = k.run(
        f"%%scaler --retries 2\nif not os.path.exists({mark!r}):\n    open({mark!r}, 'w').close()\n    1 / 0\nx = 1"
    )
    assert k.run("print(dict(_.result()), _.tries)").text == "{'x': 1} 2\n"
    assert "done, try 2" in bundle(executed)["text/plain"]


def test_the_higher_priority_runs_first(k: Kernel, tmp_path: Path) -> None:
    k.run("%scaler start -n 1\ngate = %scaler submit time.sleep(60)\ntasks = []")
    k.run("while gate.state.value != 'running': time.sleep(0.01)")
    log = str(tmp_path / "log")
    for priority in (0, 2, 1):
        k.run(f"%%scaler --priority {priority} --progress-after 0\nwith open({log!r}, 'a') as f: f.write('{priority}')")
        k.run("tasks.append(_)")
    assert k.run("gate.cancel(); print(len(sn.wait(tasks).done))").text == "3\n"
    assert Path(log).read_text() == "210"


def test_needs(k: Kernel) -> None:
    executed = k.run("%%scaler --needs gpu=1\nx = 1")
    assert executed.error.startswith("CapabilityError")
    assert "gpu" in executed.error
    k.run("%scaler stop")
    assert "this process may use" in k.run("%scaler start -n 2 --gpus 100").text
    assert "workers runs at" in k.run("%scaler start -n 2 --capability gpu=1 --gpus a,b").text
    assert result(k, "%%scaler --needs gpu --gpus 0.5\nx = os.environ['CUDA_VISIBLE_DEVICES']") == "{'x': 'a'}"
    assert "its engine has 2 (GPUs a, b)" in k.run("%%scaler --gpus 3\nx = 1").error
    assert "GPU" in k.run("%scaler status").text


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("%%scaler\n   \n# nothing", "there is nothing to run"),
        ("%%scaler\nreturn 3", "SyntaxError: 'return' outside function"),
        ("%%scaler\nx = (", "SyntaxError"),
        ("%%scaler\nx = nowhere + 1", "NameError: name 'nowhere' is not defined; nothing was submitted"),
        ("%%scaler --out nope\nname = 1", "the cell does not assign it"),
        ("%%scaler --out nmae\nname = 1", "did you mean name?"),
        ("%%scaler --out a-b\nname = 1", "'a-b' is no name"),
        ("%%scaler --in nowhere\nx = 1", "NameError: --in nowhere"),
        ("%%scaler --waiit\nx = 1", "'--waiit' is not understood; did you mean --wait?"),
        ("%%scaler --timeout soon\nx = 1", "'soon' is no number of seconds"),
        ("%%scaler --timeout -1\nx = 1", "argument --timeout: '-1' is no number of seconds"),
        ("%%scaler --needs gpu=x\nx = 1", "is not like gpu=1"),
        ("%%scaler --needs gpu=\nx = 1", "'gpu=' is not like gpu=1"),
        ("%%scaler --needs gpu=0\nx = 1", "the amount of the capability 'gpu' is between 1 and 2**31 - 1, not 0"),
        ("%%scaler\n%%time\nx = 1", "%%time cannot stand in a %%scaler cell"),
        ("%%scaler\nlock.locked()", "TaskSerializationError: the variable 'lock' cannot be pickled"),
        ("%%scaler\nlist(numbers)", "the variable 'numbers' cannot be pickled (a builtins.generator)"),
        ("%%scaler\nout.write('x')", "the variable 'out' cannot be pickled"),
        ("%%scaler --wait --out made\nif not data: made = 1", "NameError: the cell has ended without assigning 'made'"),
        (
            "%%scaler --wait --out lock\nimport threading\nlock = threading.Lock()",
            "the variable 'lock' cannot be pickled",
        ),
    ],
)
def test_a_mistake_is_said_at_once(k: Kernel, cell: str, words: str) -> None:
    k.run("lock, numbers, out = threading.Lock(), (i for i in data), open(os.devnull, 'w')")
    executed = k.run(cell)
    assert words in executed.error + executed.text
    if "--wait" not in cell:
        assert not executed.displays, "it was submitted all the same"


def test_a_cell_that_assigns_nothing(k: Kernel) -> None:
    assert result(k, "%%scaler\nprint('only this')") == "{}"


def test_a_syntax_error_has_the_cells_line_numbers(k: Kernel) -> None:
    request = k.submit("%%scaler\nx = 1\ny = = 2")
    message = k.until(lambda m: m["msg_type"] == "error" and m["parent_header"]["msg_id"] == request)
    k.finish(request)
    assert any("line 3" in line for line in message["content"]["traceback"])


def test_the_help(k: Kernel) -> None:
    assert k.run("%%scaler --help\nx = 1").text.startswith("usage: %%scaler")
