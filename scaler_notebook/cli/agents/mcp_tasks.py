"""MCP's own Tasks (``io.modelcontextprotocol/tasks``): a client that has them polls a task as one of the protocol.

For such a client ``start_call`` and ``start_cell`` give a task of the protocol, under the task's own id: so the other
tools work with it as well. Its result is what ``task_result`` gives. A call that raises is *completed* with an error of
the tool, as the protocol says: *failed* is for failures of the protocol itself. The answer to ``tasks/cancel`` is an
acknowledgement; what has really become of the task, ``tasks/get`` tells.
"""

from collections.abc import Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Any

from anyio.to_thread import run_sync
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver.server import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, CallToolRequestParams, CallToolResult, RequestParams, TextContent
from mcp.types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.protocol.encoding.json_forms import document

from .agent_tasks import AgentTasks, Form
from .mistakes import AgentMistake

STARTS = "start_call", "start_cell"  # the tools that start a task
POLL_INTERVAL = 1000  # milliseconds
STATUS = {"done": "completed", "failed": "completed", "cancelled": "cancelled"}  # "working" before


class TaskParams(RequestParams):
    """The parameters of a request about a task."""

    task_id: str = Field(alias="taskId")


class TasksExtension(Extension):
    """The extension: its methods, and what it makes of the tools that start a task.

    Parameters
    ----------
    tasks
        The tasks.
    """

    identifier = "io.modelcontextprotocol/tasks"

    def __init__(self, tasks: AgentTasks) -> None:
        self._tasks = tasks

    def methods(self) -> Sequence[MethodBinding]:
        """Return the methods of the protocol's tasks; no task here asks for input, so an update changes nothing."""
        handlers = {"tasks/get": self._get, "tasks/update": self._update, "tasks/cancel": self._cancel}
        versions = frozenset(MODERN_PROTOCOL_VERSIONS)
        return [MethodBinding(method, TaskParams, handler, versions) for method, handler in handlers.items()]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Give a task of the protocol to a client that has them, in place of the result of a tool that starts one.

        Parameters
        ----------
        params
            The call of the tool.
        ctx
            The request.
        call_next
            Calls the tool.
        """
        result = await call_next(ctx)
        capabilities = ctx.session.client_capabilities
        knows_tasks = capabilities is not None and self.identifier in (capabilities.extensions or {})
        if params.name not in STARTS or not knows_tasks or ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return result
        if not isinstance(result, CallToolResult) or result.is_error or result.structured_content is None:
            return result
        future = self._tasks.find(result.structured_content["id"])
        return {**_task(self._tasks.form(future)), "resultType": "task"}

    async def _get(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        """Return the state of a task and, at its end, what it came to."""
        future = await self._find(ctx, params)
        found = await run_sync(partial(self._tasks.outcome, future))
        task = _task(found)
        if task["status"] == "completed":
            text = TextContent(type="text", text=document(**found))
            failed = found["state"] == "failed"
            result = CallToolResult(content=[text], structured_content=found, is_error=failed)
            task["result"] = result.model_dump(by_alias=True, mode="json", exclude_none=True)
        return {**task, "resultType": "complete"}

    async def _update(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        """Acknowledge answers to questions: no task has asked any."""
        await self._find(ctx, params)
        return {"resultType": "complete"}

    async def _cancel(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        """Request a cancel, by force, and acknowledge that."""
        future = await self._find(ctx, params)
        future.request_cancel_unfinished()
        return {"resultType": "complete"}

    async def _find(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> ScalerFuture[Any]:
        """Return the future of a task.

        Parameters
        ----------
        ctx
            The request.
        params
            Its parameters.

        Raises
        ------
        MCPError
            The client has not declared the extension, or there is no such task.
        """
        require_client_extension(ctx, self.identifier)
        try:
            return await run_sync(partial(self._tasks.find, params.task_id))
        except AgentMistake as mistake:
            raise MCPError(code=INVALID_PARAMS, message=str(mistake)) from None


def _task(form: Form) -> Form:
    """Return a task's state in the protocol's form."""
    said, reason = form["progress"], form["reason"]
    words = form["state"] if reason is None else f"{form['state']}: {reason}"
    if form["refused_to_stop"]:
        words += "; it has refused to stop"
    if said is not None:
        of_all = f" of {said['total']:g}" if said["total"] >= 0 else ""
        words += f"; {said['done']:g}{of_all} {said['note']}".rstrip()
    times = [form["ended_at"], form["started_at"], form["submitted_at"]]
    return {
        "taskId": form["id"],
        "status": STATUS.get(form["state"], "working"),
        "statusMessage": words,
        "createdAt": _iso(form["submitted_at"]),
        "lastUpdatedAt": _iso(next(time for time in times if time is not None)),
        "ttlMs": None,
        "pollIntervalMs": POLL_INTERVAL,
    }


def _iso(seconds: float) -> str:
    """Return a time since the epoch as ISO 8601 has it."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()
