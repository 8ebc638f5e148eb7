"""What coding agents are served: calls and cells as tasks, by the parts alone and over MCP."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kernel_environments import HOME, LIBRARIES, kernel_specs
from waits import SAFETY, until_running, until_written

from scaler_notebook import NotebookExecutor
from scaler_notebook.cli.agents.agent_tasks import MAX_TEXT, AgentTasks, Form
from scaler_notebook.cli.agents.mistakes import AgentMistake
from scaler_notebook.cli.command import main

WORK = """
import time
def count(n, *, start=0):
    print(f"counting to {n}")
    return list(range(start, n))
async def later(): return {"a": (1, 2)}
class Model:
    @staticmethod
    def fit(): raise ValueError("no luck")
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
    assert (task["id"], task["call"], task["state"]) == (others.task_id, "sleep(60)", "running")
    assert set(task) == {"id", "call", "state", "submitted_at", "started_at", "pid"}
    for attempt in (tasks.status, tasks.result):
        with pytest.raises(AgentMistake, match="belongs to another client"):
            attempt(others.task_id, 0)
    with pytest.raises(AgentMistake, match="belongs to another client"):
        tasks.cancel(others.task_id, True, 0)
    with pytest.raises(AgentMistake, match="was not started over this connection"):
        tasks.find("nonsense")
    assert others.running()
    others.cancel()


@pytest.mark.parametrize(
    ("path", "index", "said"),
    [
        ("a notebook.ipynb", 0, "cell 0 of a notebook.ipynb has no code; these have: 1, 2, 3, 4"),
        ("a notebook.ipynb", 6, "has 6 cells: the index is 0 to 5, not 6"),
        ("agents_work.py", 0, "is no notebook"),
        ("missing.ipynb", 0, "cannot be read: No such file"),
    ],
)
def test_a_cell_that_is_none(path: str, index: int, said: str, project: Path) -> None:
    with pytest.raises(AgentMistake, match=said):
        AgentTasks().start_cell(path, index, False, {})


@pytest.mark.parametrize(
    ("function", "engine", "said"),
    [
        ("agents_work", None, "names no function"),
        ("agents_work.py:count", "tcp://127.0.0.1:1", "no engine of yours runs there"),
        ("agents work:count", None, "names no function"),
        ("agents_work:count", "tcp://10.0.0.1:8800", "is not this machine"),
    ],
)
def test_a_call_that_is_none(function: str, engine: str | None, said: str) -> None:
    with pytest.raises(AgentMistake, match=said):
        AgentTasks().start_call(function, [], {}, {"engine": engine})


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
        (engine,) = [each for each in (await tool(client, "list_tasks"))["engines"] if each["tasks"] == []][:1]
    print(json.dumps([tools, ended["result"], squared["result"], refused["state"], killed["reason"], foreign, wrong]))
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
    tools, ended, squared, *cancels, foreign, wrong = _said(TOOLS)
    assert tools == [
        *("cancel_task", "list_engines", "list_tasks", "start_call", "start_cell", "task_result", "task_status")
    ]
    assert (ended["value"], squared["value"]) == ([0, 1], 10)
    assert cancels == ["running", "stopped"]
    assert "nobody answers at ipc:///root/others: no engine of yours runs there" in foreign
    assert wrong == "start_call has no argument 'args'; did you mean arguments?"
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


def _said(program: str) -> Any:
    """What a client of the SDK prints, which speaks with the server."""
    python = str(HOME / LIBRARIES / "bin" / "python")
    done = subprocess.run([python, "-c", CONNECT + program], capture_output=True, text=True, timeout=4 * SAFETY)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
