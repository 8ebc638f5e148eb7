"""What coding agents are served: calls and cells as tasks, by the parts alone and over MCP."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kernel_environments import HOME, LIBRARIES, kernel_specs
from waits import SAFETY, until_running, until_written

from scaler_notebook import NotebookExecutor
from scaler_notebook.cli.agents import agent_tasks
from scaler_notebook.cli.agents.agent_tasks import MAX_TEXT, AgentTasks, Form
from scaler_notebook.cli.agents.mistakes import AgentMistake
from scaler_notebook.cli.command import main
from scaler_notebook.task.calls.notebook_cells import run_cells

WORK = """
import enum, time
def count(n, *, start=0):
    print(f"counting to {n}")
    return list(range(start, n))
async def later(): return {"a": (1, 2)}
class Model:
    @staticmethod
    def fit(): raise ValueError("no luck")
class Colour(str, enum.Enum):
    RED = "red"
class NoLuck(Exception): pass
def colours(): return [Colour.RED]
def lose(): raise NoLuck("not \\udcff today")
def names():
    print("printed \\udcff")
    return {"\\udcff": ["é\\udcff"]}
def refuse():
    try:
        print("begun")
        while True: time.sleep(60)
    except KeyboardInterrupt:
        refuse()
"""
CELLS = [
    ("markdown", "# About it"),
    ("code", "import helper\nx = 3"),
    ("code", "\nprint('squared')\ny = x ** 2\ny + helper.ONE"),
    ("code", "%%scaler --out z\n\nimport asyncio\nawait asyncio.sleep(0)\n1 / 0"),
    ("code", "# nothing"),
    ("code", ""),
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of an agent, on the path, with a module and a notebook."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    tmp_path.joinpath("agents_work.py").write_text(WORK)
    tmp_path.joinpath("helper.py").write_text("ONE = 1")
    cells = [{"cell_type": kind, "source": source.splitlines(keepends=True)} for kind, source in CELLS]
    tmp_path.joinpath("a notebook.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}))
    return tmp_path


@pytest.fixture
def tasks(executor_of_one: NotebookExecutor, project: Path) -> Iterator[AgentTasks]:
    """What one agent starts, on an engine that others use too."""
    found = AgentTasks(executor_of_one.address)
    yield found
    found.close()


def called(tasks: AgentTasks, function: str, *arguments: Any, **keywords: Any) -> Form:
    """What becomes of a call."""
    return tasks.result(tasks.start_call(function, arguments, keywords, {})["id"], SAFETY)


def test_a_call_is_named_and_its_result_is_data(tasks: AgentTasks) -> None:
    done = called(tasks, "agents_work:count", 5, start=3)
    assert (done["call"], done["state"], done["error"]) == ("count(5, start=3)", "done", None)
    assert done["result"] == {"text": "[3, 4]", "value": [3, 4]}
    assert tasks.status(done["id"], 100)["output"] == "counting to 5\n"
    assert tasks.status(done["id"], 5) == {**tasks.status(done["id"], 0), "output": "to 5\n", "output_is_cut": True}
    assert called(tasks, "agents_work:later")["result"] == {"text": "{'a': (1, 2)}"}, "JSON has no tuples"
    long = called(tasks, "builtins:bytes", MAX_TEXT)["result"]
    assert long["text"].endswith("more characters)")
    assert len(long["text"]) < MAX_TEXT + 100


def test_a_call_that_fails_says_how(tasks: AgentTasks) -> None:
    failed = called(tasks, "agents_work:Model.fit")
    assert failed["state"] == "failed"
    assert (failed["error"]["type"], failed["error"]["message"]) == ("ValueError", "no luck")
    assert "agents_work.py" in failed["error"]["traceback"]
    missing = called(tasks, "agents_work:cuont", 1)["error"]
    assert missing["message"] == "agents_work:cuont: there is no 'cuont'; did you mean count?"
    assert called(tasks, "no_such_module:f")["error"]["type"] == "ModuleNotFoundError"


def test_neither_a_value_nor_an_error_brings_the_project_into_the_server(tasks: AgentTasks) -> None:
    assert called(tasks, "agents_work:colours")["result"]["value"] == ["red"]
    assert called(tasks, "agents_work:lose")["error"]["type"] == "NoLuck"
    assert "agents_work" not in sys.modules


def test_an_error_shows_the_lines_of_its_file_as_it_is(tasks: AgentTasks, project: Path) -> None:
    for line in ("1 / 0  # first", "1 / 0  # and then"):
        project.joinpath("agents_wrong.py").write_text(f"def wrong():\n    {line}")
        error = called(tasks, "agents_wrong:wrong")["error"]
        assert (error["type"], error["message"]) == ("ZeroDivisionError", "division by zero")
        assert f"    {line}\n" in error["traceback"]
    project.joinpath("agents_wrong.py").write_text("def wrong():\n    1 +")
    error = called(tasks, "agents_wrong:wrong")["error"]
    assert (error["type"], error["message"]) == ("SyntaxError", "invalid syntax")


def test_what_utf_8_has_not_is_escaped(tasks: AgentTasks) -> None:
    done, failed = called(tasks, "agents_work:names"), called(tasks, "agents_work:lose")
    assert done["result"]["value"] == {"\\udcff": ["é\\udcff"]}
    assert failed["error"]["message"] == "not \\udcff today"
    told = [tasks.status(done["id"], 100), tasks.status(failed["id"], 100), done, failed, tasks.tasks(None)]
    assert told[0]["output"] == "printed \\udcff\n"
    json.dumps(told, ensure_ascii=False).encode()
    with pytest.raises(AgentMistake, match=r"^\\udcff\.ipynb cannot be read"):
        tasks.start_cell("\udcff.ipynb", 0, False, {})


def test_an_argument_without_a_text_is_no_obstacle(tasks: AgentTasks) -> None:
    started = tasks.start_call("builtins:len", [[10**5000]], {}, {})
    assert tasks.result(started["id"], SAFETY)["result"] == {"text": "1", "value": 1}


@pytest.mark.parametrize(
    "statement", ["from work_here import f", "from space.work_here import f", "from space import g"]
)
def test_a_cell_sees_the_project_as_it_is(statement: str, executor_of_one: NotebookExecutor, project: Path) -> None:
    """In one process, from a notebook in another directory, and where packages have no ``__init__.py``."""
    for name in ("notebooks", "space"):
        project.joinpath(name).mkdir()
    name = statement.split()[-1]
    source = f"{statement}\n{name}() if callable({name}) else {name}.f()"

    def run_twice() -> list[int]:
        found = []
        for value in (1, 22):
            os.chdir(project)
            for file in ("work_here.py", "space/work_here.py", "space/g.py"):
                project.joinpath(file).write_text(f"def f(): return {value}")
            found.append(run_cells(str(project / "notebooks" / "a.ipynb"), [(0, source)], None)["value"])
        return found

    assert executor_of_one.submit(run_twice).result(SAFETY) == [1, 22]


def test_a_call_sees_the_project_as_it_is(tasks: AgentTasks, project: Path) -> None:
    project.joinpath("agents_caller.py").write_text("from helper import ONE\ndef one(): return ONE")
    assert called(tasks, "agents_caller:one")["result"]["value"] == 1
    project.joinpath("helper.py").write_text("ONE = 'edited'")
    assert called(tasks, "agents_caller:one")["result"]["value"] == "edited"


def test_a_cell_is_one_task(tasks: AgentTasks, project: Path) -> None:
    def run(index: int, earlier: bool) -> Form:
        return tasks.result(tasks.start_cell("a notebook.ipynb", index, earlier, {})["id"], SAFETY)

    done = run(2, True)
    assert (done["call"], done["result"]) == ("a notebook.ipynb[2]", {"text": "10", "value": 10})
    assert tasks.status(done["id"], 100)["output"] == "squared\n"
    assert run(1, False)["result"] == {"text": "None", "value": None}
    alone = run(2, False)["error"]
    assert alone["message"] == "name 'x' is not defined"
    assert f'{project}/a notebook.ipynb[2]", line 3, in <module>\n    y = x ** 2' in alone["traceback"]
    assert '[3]", line 5, in <module>\n    1 / 0' in run(3, False)["error"]["traceback"], "a task within it is none"
    assert run(4, False)["state"] == "done"


def test_a_cancel_tells_what_has_become_of_the_task(tasks: AgentTasks) -> None:
    tasks._executor(None).grace = 0.05  # seconds
    running = tasks.start_call("agents_work:refuse", [], {}, {})["id"]
    queued = tasks.start_call("agents_work:count", [1], {}, {})["id"]
    until_written(tasks.find(running), "begun")
    assert tasks.result(running, 0)["state"] == "running"
    assert "in refuse" in tasks.status(running, 0, stack=True)["stack"]
    assert "does not run yet" in tasks.status(queued, 0, stack=True)["stack"]
    refused = tasks.cancel(running, False, SAFETY)
    assert (refused["state"], refused["refused_to_stop"]) == ("running", True)
    assert tasks.cancel(queued, True, SAFETY)["reason"] == "never started"
    ended = tasks.cancel(running, True, SAFETY)
    assert (ended["state"], ended["reason"]) == ("cancelled", "stopped")
    done = called(tasks, "agents_work:count", 1)
    assert tasks.cancel(done["id"], True, SAFETY)["state"] == "done", "a result is not taken away"


def test_of_other_clients_tasks_an_agent_gets_little(tasks: AgentTasks, executor_of_one: NotebookExecutor) -> None:
    others = executor_of_one.submit(time.sleep, 60)
    until_running(others)
    address = executor_of_one.address
    assert address in [engine["address"] for engine in tasks.engines()]
    found = tasks.tasks(address)
    ((task,),) = [engine["tasks"] for engine in found["engines"]]
    assert (task["id"], task["call"], task["state"]) == (others.task_id, "sleep", "running")
    assert set(task) == {"id", "call", "state", "submitted_at", "started_at"}
    for attempt in (tasks.status, tasks.result):
        with pytest.raises(AgentMistake, match="belongs to another client"):
            attempt(others.task_id, 0)
    with pytest.raises(AgentMistake, match="belongs to another client"):
        tasks.cancel(others.task_id, True, 0)
    with pytest.raises(AgentMistake, match="was not started over this connection"):
        tasks.find("nonsense")
    assert others.running()
    others.cancel()


def test_no_agent_is_told_the_arguments_of_another_ones_call(
    tasks: AgentTasks, executor_of_one: NotebookExecutor
) -> None:
    started = tasks.start_call("agents_work:refuse", [], {}, {})["id"]
    until_written(tasks.find(started), "begun")
    tasks.start_call("time:sleep", ["s3cret"], {}, {})
    others = AgentTasks(executor_of_one.address)
    (engine,) = others.tasks(executor_of_one.address)["engines"]
    assert [task["call"] for task in engine["tasks"]] == ["refuse", "sleep"]
    assert [task["call"] for task in tasks.tasks(None)["mine"]] == ["refuse()", "sleep('s3cret')"]
    tasks.cancel(started, True, SAFETY)


@pytest.mark.parametrize(
    ("path", "index", "said"),
    [
        ("a notebook.ipynb", 0, "cell 0 of a notebook.ipynb has no code; these have: 1, 2, 3, 4"),
        ("a notebook.ipynb", 6, "has 6 cells: the index is 0 to 5, not 6"),
        ("agents_work.py", 0, "is no notebook"),
        ("missing.ipynb", 0, "cannot be read: No such file"),
        ("a notebook.ipynb", -1, "the index is 0 to 5, not -1"),
        ("a notebook.ipynb", True, "the index of a cell is an integer, not True"),
        ("a notebook.ipynb", "1", "the index of a cell is an integer, not '1'"),
        ("empty.ipynb", 0, "empty.ipynb has no cells"),
        ("deep.ipynb", 0, "is no notebook"),
        ("latin.ipynb", 0, "is no notebook"),
        ("no source.ipynb", 0, "is no notebook"),
        ("no cells.ipynb", 0, "is no notebook"),
        ("pipe.ipynb", 0, "is no notebook"),
        (".", 0, "is no notebook"),
        ("~no_such_user/x.ipynb", 0, "is no path"),
        ("a\0b.ipynb", 0, "is no path"),
        ("x" * 300, 0, "cannot be read: File name too long"),
    ],
)
def test_a_cell_that_is_none(path: str, index: int, said: str, project: Path) -> None:
    for name, text in (
        ("empty", '{"cells": []}'),
        ("deep", '{"cells": ' + "[" * 100_000),
        ("latin", '{"cells": ["\xe9"]}'),
        ("no source", '{"cells": [{"cell_type": "code"}]}'),
        ("no cells", '{"cells": 1}'),
    ):
        project.joinpath(f"{name}.ipynb").write_text(text, encoding="latin-1")
    os.mkfifo(project / "pipe.ipynb")
    with pytest.raises(AgentMistake, match=said):
        AgentTasks().start_cell(path, index, False, {})


@pytest.mark.parametrize(
    ("function", "engine", "said"),
    [
        ("agents_work", None, "names no function"),
        ("agents_work.py:count", "tcp://127.0.0.1:1", "none of the user's engines"),
        ("agents work:count", None, "names no function"),
        ("agents_work:count", "tcp://10.0.0.1:8800", "none of the user's engines"),
        ("agents_work:count", "scaler://127.0.0.1:1", "none of the user's engines.*list_engines"),
        ("agents_work:count", "ipc:///root/others", "none of the user's engines"),
        ("agents_work:count", "", "none of the user's engines"),
    ],
)
def test_a_call_that_is_none(function: str, engine: str | None, said: str) -> None:
    with pytest.raises(AgentMistake, match=said):
        AgentTasks().start_call(function, [], {}, {"engine": engine})


def test_an_agent_sees_the_engines_of_its_user_alone() -> None:
    with pytest.raises(AgentMistake, match="none of the user's engines"):
        AgentTasks().tasks("scaler://127.0.0.1:1")


def test_one_executor_is_made_for_an_engine_whoever_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class SlowlyMade:
        def __init__(self, *_: Any, **__: Any) -> None:
            time.sleep(0.01)  # the others come meanwhile
            made.append(self)

        def disconnect(self, timeout: float) -> None:
            made.remove(self)

    monkeypatch.setattr(agent_tasks, "NotebookExecutor", SlowlyMade)
    tasks, together = AgentTasks(), threading.Barrier(8)

    def first(_: int) -> object:
        together.wait(SAFETY)
        return tasks._executor(None)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(first, range(8)))) == len(made) == 1
    tasks.close()
    assert not made
    with pytest.raises(AgentMistake, match="the connection is closed"):
        tasks._executor(None)


def test_tasks_are_listed_while_others_start(tasks: AgentTasks, monkeypatch: pytest.MonkeyPatch) -> None:
    form, (one, two) = tasks.form, [tasks.start_call("builtins:int", [], {}, {})["id"] for _ in range(2)]

    def form_beside_a_start(future: Any) -> Form:
        tasks.start_call("builtins:int", [], {}, {})
        return form(future)

    def start(function: Any, *more: Any) -> Form:
        tasks._futures[str(len(tasks._futures))] = tasks._futures[one]
        return {}

    monkeypatch.setattr(tasks, "_start", start)
    monkeypatch.setattr(tasks, "form", form_beside_a_start)
    assert [task["id"] for task in tasks.tasks(None)["mine"]] == [one, two]


def test_without_the_package_the_command_says_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    assert importlib.util.find_spec("mcp") is None, "this environment was not to have it"
    assert main(["mcp"]) == 1
    assert capsys.readouterr().err == "scaler-notebook: mcp is not installed: pip install 'mcp>=2,<3'\n"


# ---------------------------------------------------------------------- over MCP

CONNECT = """
import anyio, json, sys
from typing import Literal
from mcp.client.client import Client
from mcp.client.extension import ClientExtension, ResultClaim
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import CallToolResult, Request, RequestParams, Result
from pydantic import ConfigDict

def server(*more):
    return stdio_client(StdioServerParameters(command=sys.executable, args=["-m", "scaler_notebook", "mcp", *more]))

async def tool(client, name, **arguments):
    found = await client.call_tool(name, arguments)
    return found.content[0].text if found.is_error else found.structured_content
"""
TOOLS = """
async def main():
    async with Client(server()) as client:
        tools = sorted(each.name for each in (await client.list_tools()).tools)
        task = await tool(client, "start_call", function="agents_work:count", arguments=[2])
        ended = await tool(client, "task_result", task=task["id"], wait_seconds=30)
        cell = await tool(client, "start_cell", path="a notebook.ipynb", index=2, include_earlier=True)
        squared = await tool(client, "task_result", task=cell["id"], wait_seconds=30)
        stuck = await tool(client, "start_call", function="agents_work:refuse")
        while (await tool(client, "task_status", task=stuck["id"]))["output"] == "": await anyio.sleep(0.05)
        refused = await tool(client, "cancel_task", task=stuck["id"], force=False)
        killed = await tool(client, "cancel_task", task=stuck["id"])
        foreign = await tool(client, "start_call", function="agents_work:count", engine="ipc:///root/others")
        wrong = await tool(client, "start_call", function="agents_work:count", args=[2])
        none = await tool(client, "list_engines", x=1)
        (engine,) = [each for each in (await tool(client, "list_tasks"))["engines"] if each["tasks"] == []][:1]
    results = ended["result"], squared["result"], refused["state"], killed["reason"]
    print(json.dumps([tools, *results, foreign, wrong, none]))
anyio.run(main)
"""
TASKS = """
class Task(Result):
    model_config = ConfigDict(extra="allow")
    result_type: Literal["task"] = "task"
    taskId: str
    status: str
class AnyResult(Result):
    model_config = ConfigDict(extra="allow")
class Named(RequestParams):
    taskId: str
class About(Request[Named, str]):
    method: str
seen = []
async def ask(session, method, task_id):
    return (await session.send_request(About(method=method, params=Named(taskId=task_id)), AnyResult)).model_extra
async def poll(task, context):
    cancelled = len(seen) < 4  # the last of three tasks alone
    while True:
        found = await ask(context.session, "tasks/get", task.taskId)
        if found["status"] != "working":
            seen.append((found["status"], found.get("statusMessage")))
            return CallToolResult(**found["result"]) if "result" in found else CallToolResult(content=[], is_error=True)
        if "running" in found["statusMessage"] and not cancelled:
            cancelled = True
            seen.append((await ask(context.session, "tasks/cancel", task.taskId))["resultType"])
        await anyio.sleep(found["pollIntervalMs"] / 20_000)
class Tasks(ClientExtension):
    identifier = "io.modelcontextprotocol/tasks"
    def claims(self): return [ResultClaim(result_type="task", model=Task, resolve=poll)]
async def main():
    async with Client(server(), extensions=[Tasks()]) as client:
        for function in ("later", "Model.fit", "refuse"):
            found = await client.call_tool("start_call", {"function": f"agents_work:{function}"})
            seen.append([found.is_error, (found.structured_content or {}).get("result")])
        try: await ask(client.session, "tasks/get", "nonsense")
        except Exception as error: seen.append(str(error))
    print(json.dumps(seen))
anyio.run(main)
"""


@pytest.mark.matrix
@pytest.mark.timeout(900)
def test_over_the_protocol(project: Path) -> None:
    kernel_specs(LIBRARIES)  # makes the environment
    tools, ended, squared, *cancels, foreign, wrong, none = _said(TOOLS)
    assert tools == [
        *("cancel_task", "list_engines", "list_tasks", "start_call", "start_cell", "task_result", "task_status")
    ]
    assert (ended["value"], squared["value"]) == ([0, 1], 10)
    assert cancels == ["running", "stopped"]
    assert "none of the user's engines on this machine has the address 'ipc:///root/others'" in foreign
    assert wrong == "start_call has no argument 'args'; did you mean arguments?"
    assert none == "list_engines has no argument 'x': it has none"
    *seen, unknown = _said(TASKS)
    assert seen == [
        ["completed", "done"],
        [False, {"text": "{'a': (1, 2)}"}],
        ["completed", "failed"],
        [True, None],
        "complete",
        ["cancelled", "cancelled: stopped"],
        [True, None],
    ]
    assert "was not started over this connection" in unknown


CALL, CELL, ASKED = {"function": "agents_work:count"}, {"path": "a notebook.ipynb", "index": 1}, {"task": "nonsense"}
WRONG: list[tuple[str, dict[str, Any], str]] = [  # tool, arguments, what the answer has
    ("list_engines", {"engine": None}, "it has none"),
    ("list_tasks", {"engine": 5}, "valid string"),
    ("list_tasks", {"engine": "scaler://127.0.0.1:1"}, "none of the user's engines"),
    ("start_call", {}, "required"),
    ("start_call", {"function": 5}, "valid string"),
    ("start_call", {"function": "agents_work"}, "names no function"),
    *(("start_call", {**CALL, "arguments": wrong}, "valid list") for wrong in ("two", 2, {"n": 2})),
    *(("start_call", {**CALL, "keywords": wrong}, "valid dictionary") for wrong in ("two", 2, [2])),
    *(("start_call", {**CALL, "engine": wrong}, "valid string") for wrong in (5, ["tcp://127.0.0.1:1"])),
    ("start_call", {**CALL, "engine": "scaler://127.0.0.1:1"}, "none of the user's engines"),
    ("start_call", {**CALL, "run_timeout": "soon"}, "valid number"),
    ("start_call", {**CALL, "run_timeout": True}, "a number is wanted"),
    ("start_call", {**CALL, "run_timeout": 0}, "greater than 0"),
    ("start_cell", {"index": 1}, "required"),
    ("start_cell", {**CELL, "path": 5}, "valid string"),
    ("start_cell", {**CELL, "path": "."}, "is no notebook"),
    ("start_cell", {**CELL, "path": "~no_such_user/x.ipynb"}, "is no path"),
    *(("start_cell", {**CELL, "index": wrong}, "valid integer") for wrong in ("one", 1.5, [1])),
    ("start_cell", {**CELL, "index": True}, "a number is wanted"),
    ("start_cell", {**CELL, "index": -1}, "greater than or equal to 0"),
    ("start_cell", {**CELL, "include_earlier": "perhaps"}, "valid boolean"),
    *((tool, {}, "required") for tool in ("task_status", "task_result", "cancel_task")),
    *((tool, {"task": 5}, "valid string") for tool in ("task_status", "task_result", "cancel_task")),
    *((tool, ASKED, "was not started over this connection") for tool in ("task_status", "task_result", "cancel_task")),
    *(("task_status", {**ASKED, "output_characters": wrong}, "valid integer") for wrong in ("all", 0.5)),
    ("task_status", {**ASKED, "output_characters": True}, "a number is wanted"),
    ("task_status", {**ASKED, "stack": "perhaps"}, "valid boolean"),
    ("task_result", {**ASKED, "wait_seconds": "long"}, "valid number"),
    ("task_result", {**ASKED, "wait_seconds": True}, "a number is wanted"),
    ("task_result", {**ASKED, "wait_seconds": 61}, "less than or equal to 60"),
    ("cancel_task", {**ASKED, "force": "perhaps"}, "valid boolean"),
]
TYPES = """
async def main():
    async with Client(server()) as client:
        said = [await tool(client, name, **arguments) for name, arguments in json.loads(sys.argv[1])]
        started = await tool(client, "start_call", function="agents_work:names")
        named = await tool(client, "task_result", task=started["id"], wait_seconds=30)
    print(json.dumps([said, named["result"]]))
anyio.run(main)
"""


@pytest.mark.matrix
@pytest.mark.timeout(900)
def test_arguments_of_wrong_types_are_refused_in_words(project: Path) -> None:
    kernel_specs(LIBRARIES)
    said, named = _said(TYPES, json.dumps([[tool, arguments] for tool, arguments, _ in WRONG]))
    for (tool, arguments, words), answer in zip(WRONG, said, strict=True):
        assert isinstance(answer, str), f"{tool} took {arguments}"
        assert words in answer
    assert named["value"] == {"\\udcff": ["é\\udcff"]}


def _said(program: str, *arguments: str) -> Any:
    """What a client of the SDK prints, which speaks with the server.

    Parameters
    ----------
    program
        The client, after :data:`CONNECT`.
    arguments
        What it finds in ``sys.argv``.
    """
    command = [str(HOME / LIBRARIES / "bin" / "python"), "-c", CONNECT + program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * SAFETY)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
