"""The tasks that agents have started over one connection, on any engines of the user's."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scaler_notebook.cli.user_engines import engine_forms, task_forms
from scaler_notebook.client.executor import NotebookExecutor
from scaler_notebook.client.futures.completion import wait
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.session_log.history import HistoryRecord, record_form
from scaler_notebook.protocol.encoding.json_forms import failure_form, shortened
from scaler_notebook.protocol.errors import EngineStartError
from scaler_notebook.task.calls.by_name import call_by_name
from scaler_notebook.task.calls.notebook_cells import run_cells, show_source

from .mistakes import AgentMistake
from .notebook_file import cells_of

MAX_TEXT = 100_000  # characters of a result: what an agent reads, it pays for
MAX_KEPT = 1000  # tasks that have ended and can still be asked for
CLOSE_TIMEOUT = 5.0  # seconds for the cancels at the end

Form = dict[str, Any]


class AgentTasks:
    """The clients that agents are of the user's engines, and what they have started.

    Parameters
    ----------
    address
        The engine for what names none; None: an engine of their own, which starts with the first task.
    """

    def __init__(self, address: str | None = None) -> None:
        self._address = address
        self._executors: dict[str | None, NotebookExecutor] = {}  # by address
        self._futures: dict[str, ScalerFuture[Any]] = {}  # by task id, the oldest first

    def close(self) -> None:
        """Cancel what is unfinished, and leave the engines; one of their own ends."""
        for executor in self._executors.values():
            executor.disconnect(CLOSE_TIMEOUT)

    # ------------------------------------------------------------------ starting

    def start_call(
        self, function: str, arguments: Sequence[Any], keywords: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Form:
        """Start a call as a task; return its form.

        Parameters
        ----------
        function
            ``package.module:function``.
        arguments, keywords
            Its arguments.
        options
            ``engine``: an address; ``run_timeout``, in seconds.
        """
        module, colon, path = function.partition(":")
        if not colon or not all(part.isidentifier() for part in [*module.split("."), *path.split(".")]):
            raise AgentMistake(f"{function!r} names no function: package.module:function does")
        words = [*map(repr, arguments), *(f"{name}={value!r}" for name, value in keywords.items())]
        title = shortened(f"{path}({', '.join(words)})", 200)
        return self._start(call_by_name, [function, list(arguments), dict(keywords), MAX_TEXT], title, options)

    def start_cell(self, path: str, index: int, earlier: bool, options: Mapping[str, Any]) -> Form:
        """Start a cell of a notebook's file as a task; return its form.

        Parameters
        ----------
        path
            The file.
        index
            Which cell; see :func:`.cells_of`.
        earlier
            Whether the code cells before it are run first, in the same task.
        options
            As for :meth:`start_call`.
        """
        file = Path(path).expanduser().absolute()
        cells = cells_of(file, index, earlier)
        for cell in cells:
            show_source(str(file), *cell)  # tracebacks are made here
        return self._start(run_cells, [str(file), cells, MAX_TEXT], f"{file.name}[{index}]", options)

    def _start(
        self, function: Callable[..., Form], arguments: Sequence[Any], title: str, options: Mapping[str, Any]
    ) -> Form:
        """Submit a task, and keep its future.

        Parameters
        ----------
        function, arguments
            The call.
        title
            What a person reads of it.
        options
            As for :meth:`start_call`.
        """
        try:
            executor = self._executor(options.get("engine"))
            limit = options.get("run_timeout")
            future = executor.submit_verbose(function, arguments, name=title, run_timeout=limit)
        except (EngineStartError, ValueError, TypeError) as error:
            raise AgentMistake(str(error)) from error
        self._futures[future.task_id] = future
        ended = [task_id for task_id, each in self._futures.items() if each.done()]
        for task_id in ended[: max(0, len(ended) - MAX_KEPT)]:
            del self._futures[task_id]
        return self.form(future)

    def _executor(self, address: str | None) -> NotebookExecutor:
        """Return the executor for an engine; a new one if the last one has lost its engine.

        Parameters
        ----------
        address
            The engine; None for the one that was named when the server was started.
        """
        address = address if address is not None else self._address
        if address not in self._executors:
            self._executors[address] = NotebookExecutor(address, stream_output=False)
        return self._executors[address]

    # ------------------------------------------------------------------ looking

    def form(self, future: ScalerFuture[Any]) -> Form:
        """Return the form of a task that was started here: its state, its progress, and where it runs."""
        form = record_form(HistoryRecord(future, lambda characters: None))
        said = future.progress
        progress = None if said is None else {"done": said.done, "total": said.total, "note": said.note}
        return {**form, "progress": progress, "refused_to_stop": future.refused}

    def status(self, task_id: str, characters: int, stack: bool = False) -> Form:
        """Return the state of a task, and the end of what it has written.

        Parameters
        ----------
        task_id
            The task.
        characters
            How many characters of its output are wanted.
        stack
            Whether its Python stack is wanted, or why there is none.
        """
        future = self.find(task_id)
        output, is_cut = future.last_output(max(0, min(characters, MAX_TEXT)))
        form = {**self.form(future), "output": output, "output_is_cut": is_cut}
        return {**form, "stack": _stack_text(future)} if stack else form

    def result(self, task_id: str, seconds: float) -> Form:
        """Return the state of a task with its ``result`` or ``error``, as far as it has one.

        Parameters
        ----------
        task_id
            The task.
        seconds
            How long to wait for its end.
        """
        future = self.find(task_id)
        wait([future], max(0.0, seconds))
        return self.outcome(future)

    def outcome(self, future: ScalerFuture[Any]) -> Form:
        """Return the state of a task with its ``result`` or ``error``, as far as it has one now."""
        form = self.form(future)
        if not future.done() or future.cancelled():
            return form
        if (error := future.exception()) is not None:
            failure = failure_form(error)
            return {**form, "error": {name: shortened(text, MAX_TEXT) for name, text in failure.items()}}
        return {**form, "result": future.result()}

    def cancel(self, task_id: str, force: bool, seconds: float) -> Form:
        """Cancel a task and wait for what really becomes of it; return its state then.

        Parameters
        ----------
        task_id
            The task.
        force
            Whether it is killed if it does not stop within the grace period.
        seconds
            How long to wait for the answer.
        """
        future = self.find(task_id)
        future.request_cancel_unfinished(force)
        future.wait_for_answer(seconds)
        return self.form(future)

    def tasks(self, address: str | None) -> Form:
        """Return the tasks that were started here, and the unfinished ones of all clients at the user's engines.

        Parameters
        ----------
        address
            Those of this engine alone; None for all.
        """
        here = [self.form(future) for future in self._futures.values()]
        try:
            return {"mine": here, "engines": task_forms(address)}
        except ValueError as error:
            raise AgentMistake(str(error)) from None

    def engines(self) -> list[Form]:
        """Return the user's engines on this machine."""
        return engine_forms()

    def find(self, task_id: str) -> ScalerFuture[Any]:
        """Return the future of a task that was started here.

        Raises
        ------
        AgentMistake
            No such task was started here.
        """
        if task_id not in self._futures:
            other = _belongs_to_other(task_id, task_forms(None))
            words = (
                "belongs to another client: list_tasks tells its state, and only who has started it gets more"
                if other
                else "was not started over this connection; list_tasks tells which were"
            )
            raise AgentMistake(f"the task {task_id!r} {words}")
        return self._futures[task_id]


def _stack_text(future: ScalerFuture[Any]) -> str:
    """Return the Python stack of a running task as a text, or why there is none."""
    try:
        return shortened(str(future.where()), MAX_TEXT)
    except RuntimeError as problem:
        return str(problem)


def _belongs_to_other(task_id: str, engines: Iterable[Form]) -> bool:
    """Return whether a task is one of those that engines say they have.

    Parameters
    ----------
    task_id
        The task.
    engines
        The forms of their unfinished tasks.
    """
    return any(task["id"] == task_id for engine in engines for task in engine["tasks"] or ())
