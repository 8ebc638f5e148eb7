"""The MCP server: the tools that an agent calls, over :class:`~.agent_tasks.AgentTasks`.

Whatever may wait runs on a thread, so that one request holds up no other.
"""

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar

from anyio import run as run_loop
from anyio.to_thread import run_sync
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BeforeValidator, Field

from scaler_notebook import __version__
from scaler_notebook.cli import user_engines
from scaler_notebook.protocol.encoding.json_forms import text_of
from scaler_notebook.suggestions import did_you_mean

from .agent_tasks import AgentTasks, Form
from .mcp_tasks import TasksExtension
from .mistakes import AgentMistake

INSTRUCTIONS = """\
Runs slow Python calls, and cells of notebook files, as tasks on worker processes of the user's machine. Start one with
start_call or start_cell, which return at once with the task's id; look with task_status; fetch with task_result; stop
with cancel_task. A cancel is confirmed only when the task has really stopped, so believe the state that it returns.
Tasks run in parallel, as many as the engine has workers; others wait. Tasks see the files as they are when they start.
"""
MAX_WAIT = 60.0  # seconds that one request may wait: clients give up on requests that take minutes
CANCEL_WAIT = 30.0  # seconds for the answer to a cancel

LOOKS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
RUNS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True)
STOPS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)

Engine = Annotated[str | None, Field(description="address of an engine as list_engines shows it; null: the default")]
TaskId = Annotated[str, Field(description="id of a task that was started over this connection")]

T = TypeVar("T")
log = logging.getLogger(__name__)


def _number(value: Any) -> Any:
    """Return what is to be a number; raise a ValueError for true and false, which would pass for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("a number is wanted, not true or false")
    return value


Number = BeforeValidator(_number)
Limit = Annotated[
    float | None, Number, Field(description="seconds after whose end the task is stopped; null: none", gt=0)
]


def run(address: str | None) -> int:
    """Serve on stdin and stdout until the agent closes them; return the exit status.

    Parameters
    ----------
    address
        The engine for tasks that name none; None: an engine of its own.
    """
    if address is not None:
        try:
            user_engines.at(address)
        except ValueError as error:
            print(f"scaler-notebook: {error}", file=sys.stderr)
            return 1
    sys.path.insert(0, os.getcwd())  # where agents' programs start it: the project, whose modules calls name
    tasks = AgentTasks(address)
    try:
        run_loop(build(tasks).run_stdio_async)
    finally:
        tasks.close()
    return 0


class StrictServer(MCPServer[Any]):
    """A server whose tools refuse arguments that they do not have, which the SDK would drop."""

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        """Call a tool.

        Parameters
        ----------
        name
            The tool.
        arguments
            Its arguments by name.
        context
            The request.

        Raises
        ------
        ToolError
            There is no such tool, or it has no such argument, or it has raised.
        """
        for tool in await self.list_tools():
            known = list(tool.input_schema["properties"]) if tool.name == name else arguments
            for wrong in arguments.keys() - known:
                others = did_you_mean(wrong, known) or f": it has {', '.join(known) or 'none'}"
                raise ToolError(f"{name} has no argument {wrong!r}{others}")
        return await super().call_tool(name, arguments, context)


def build(tasks: AgentTasks) -> MCPServer[Any]:
    """Build the server, with its tools.

    Parameters
    ----------
    tasks
        What its tools act on.
    """
    server = StrictServer(
        "scaler-notebook",
        title="scaler_notebook",
        version=__version__,
        instructions=INSTRUCTIONS,
        extensions=[TasksExtension(tasks)],
        log_level="WARNING",
    )

    @server.tool(annotations=LOOKS)
    async def list_engines() -> Form:
        """List the user's engines on this machine: addresses, owners, workers, and how many tasks run and wait."""
        return {"engines": await _on_thread(tasks.engines)}

    @server.tool(annotations=LOOKS)
    async def list_tasks(engine: Engine = None) -> Form:
        """List the tasks of this connection, and of all clients' unfinished tasks the ids, names, states and times."""
        return await _on_thread(partial(tasks.tasks, engine))

    @server.tool(annotations=RUNS)
    async def start_call(
        function: Annotated[str, Field(description="package.module:function, imported from the working directory")],
        arguments: Annotated[list[Any] | None, Field(description="positional arguments")] = None,
        keywords: Annotated[dict[str, Any] | None, Field(description="keyword arguments")] = None,
        engine: Engine = None,
        run_timeout: Limit = None,
    ) -> Form:
        """Start a call of an importable function as a task; return at once, with the task's id and state."""
        options = {"engine": engine, "run_timeout": run_timeout}
        return await _on_thread(partial(tasks.start_call, function, arguments or [], keywords or {}, options))

    @server.tool(annotations=RUNS)
    async def start_cell(
        path: Annotated[str, Field(description="a notebook's file, .ipynb")],
        index: Annotated[int, Number, Field(description="which cell, of all cells in the file; the first is 0", ge=0)],
        include_earlier: Annotated[
            bool, Field(description="run the code cells before it first, in the same task: for the names that it reads")
        ] = False,
        engine: Engine = None,
        run_timeout: Limit = None,
    ) -> Form:
        """Start a code cell of a notebook's file as one task; return at once, with the task's id and state.

        The file is read, and not written. No running notebook is involved: the cell starts with no names.
        """
        options = {"engine": engine, "run_timeout": run_timeout}
        return await _on_thread(partial(tasks.start_cell, path, index, include_earlier, options))

    @server.tool(annotations=LOOKS)
    async def task_status(
        task: TaskId,
        output_characters: Annotated[int, Number, Field(description="how much of the end of its output", ge=0)] = 2000,
        stack: Annotated[bool, Field(description="tell its Python stack as well: where it is now; it runs on")] = False,
    ) -> Form:
        """Tell a task's state, progress, times, and the end of what it has printed."""
        return await _on_thread(partial(tasks.status, task, output_characters, stack))

    @server.tool(annotations=LOOKS)
    async def task_result(
        task: TaskId,
        wait_seconds: Annotated[
            float, Number, Field(description="how long to wait for its end", ge=0, le=MAX_WAIT)
        ] = 0,
    ) -> Form:
        """Fetch a task's state, with its result or error as far as it has one.

        A result has ``text``, and ``value`` where JSON has it as it is; an error has type, message and traceback.
        """
        return await _on_thread(partial(tasks.result, task, wait_seconds))

    @server.tool(annotations=STOPS)
    async def cancel_task(
        task: TaskId,
        force: Annotated[bool, Field(description="kill it if it does not stop by itself within a second")] = True,
    ) -> Form:
        """Cancel a task; tell what has really become of it: cancelled, done or failed before, or still running."""
        return await _on_thread(partial(tasks.cancel, task, force, CANCEL_WAIT))

    return server


async def _on_thread(call: Callable[[], T]) -> T:
    """Make a call on a thread; tell the agent its mistakes, and the server's faults, which the SDK would hide."""
    try:
        return await run_sync(call, abandon_on_cancel=True)
    except AgentMistake as mistake:
        raise ToolError(str(mistake)) from None
    except Exception as fault:
        log.exception("a fault of the server's")
        raise ToolError(f"a fault of scaler-notebook's: {type(fault).__name__}: {text_of(fault, str)}") from fault
