"""The tasks that agents have started over one connection, on any engines of the user's."""

import linecache
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from scaler_notebook.cli.user_engines import at, engine_forms, task_forms
from scaler_notebook.client.executor import NotebookExecutor
from scaler_notebook.client.futures.completion import wait
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.session_log.history import HistoryRecord, record_form
from scaler_notebook.client.submission.call_text import CodeText
from scaler_notebook.protocol.encoding.json_forms import escaped, shortened, text_of
from scaler_notebook.protocol.errors import EngineError
from scaler_notebook.task.calls.by_name import call_by_name
from scaler_notebook.task.calls.notebook_cells import run_cells, show_source

from .mistakes import AgentMistake
from .notebook_file import cells_of, file_at

MAX_TEXT = 100_000  # characters of a result: what an agent reads, it pays for
MAX_KEPT = 1000  # tasks that have ended and can still be asked for
CLOSE_TIMEOUT = 5.0  # seconds for the cancels at the end

# The last lines of a traceback: in front of a SyntaxError stand the file and the code, and a message may have lines.
HEADLINE = re.compile(r"^(?:[\w<>]+\.)*(\w+)(?:: |\n|\Z)(.*)", re.MULTILINE | re.DOTALL)

Form = dict[str, Any]


class AgentTasks:
    """The clients that agents are of the user's engines, and what they have started; any thread may call it.

    Parameters
    ----------
    address
        The engine for what names none; None: an engine of their own, which starts with the first task.
    """

    def __init__(self, address: str | None = None) -> None:
        self._address = address
        self._mutex = threading.Lock()  # of all that follows; nothing waits while it is held
        self._executors: dict[str | None, NotebookExecutor] = {}  # by address
        self._futures: dict[str, ScalerFuture[Any]] = {}  # by task id, the oldest first
        self._is_closed = False

    def close(self) -> None:
        """Start nothing more, cancel what is unfinished, and leave the engines; one of their own ends."""
        with self._mutex:
            self._is_closed = True
            executors = list(self._executors.values())
        for executor in executors:
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
        words = [*map(text_of, arguments), *(f"{name}={text_of(value)}" for name, value in keywords.items())]
        title = CodeText(shortened(f"{path}({', '.join(words)})", 200))
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
        file = file_at(path)
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
        executor = self._executor(options.get("engine"))
        with self._mutex:
            linecache.checkcache()  # tracebacks have the project's lines, and it is edited between tasks
        try:
            limit = options.get("run_timeout")
            future = executor.submit_verbose(function, arguments, name=title, run_timeout=limit)
        except (EngineError, RuntimeError, ValueError, TypeError) as error:
            raise AgentMistake(str(error)) from error
        with self._mutex:
            self._futures[future.task_id] = future
            ended = [task_id for task_id, each in self._futures.items() if each.done()]
            for task_id in ended[: max(0, len(ended) - MAX_KEPT)]:
                del self._futures[task_id]
        return self.form(future)

    def _executor(self, address: str | None) -> NotebookExecutor:
        """Return the executor for an engine, which connects with its first task.

        Parameters
        ----------
        address
            The engine; None for the one that was named when the server was started.
        """
        address = _normal(address) if address is not None else self._address
        with self._mutex:
            if self._is_closed:
                raise AgentMistake("the connection is closed: no more tasks are started")
            if address not in self._executors:
                self._executors[address] = NotebookExecutor(address, stream_output=False)
            return self._executors[address]

    # ------------------------------------------------------------------ looking

    def form(self, future: ScalerFuture[Any]) -> Form:
        """Return the form of a task that was started here: its state, its progress, and where it runs."""
        form = record_form(HistoryRecord(future, lambda characters: None))
        said = future.progress
        progress = None if said is None else {"done": said.done, "total": said.total, "note": said.note}
        found: Form = escaped({**form, "progress": progress, "refused_to_stop": future.refused})
        return found

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
        form = {**self.form(future), "output": escaped(output), "output_is_cut": is_cut}
        return {**form, "stack": escaped(_stack_text(future))} if stack else form

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
        """Return the state of a task with its ``result`` or ``error``, as far as it has one now.

        An error is told in words: the exception itself, which would import the project here, is not loaded.
        """
        form = self.form(future)
        if not future.done() or future.cancelled():
            return form
        if (failure := future.failure) is None:
            return {**form, "result": future.result()}
        found = HEADLINE.search(failure.headline)
        kind, message = found.groups() if found is not None else ("", failure.headline)
        error = {"type": kind, "message": message, "traceback": failure.traceback}
        return {**form, "error": {name: shortened(escaped(text), MAX_TEXT) for name, text in error.items()}}

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
        asked = _normal(address) if address is not None else None
        with self._mutex:
            started = list(self._futures.values())
        try:
            there = task_forms(asked)
        except ValueError as error:  # it has ended since
            raise AgentMistake(str(error)) from None
        for task in (task for engine in there for task in engine["tasks"] or ()):
            del task["pid"]
        return {"mine": [self.form(future) for future in started], "engines": there}

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
        with self._mutex:
            future = self._futures.get(task_id)
        if future is None:
            other = _belongs_to_other(task_id, task_forms(None))
            words = (
                "belongs to another client: list_tasks tells its state, and only who has started it gets more"
                if other
                else "was not started over this connection; list_tasks tells which were"
            )
            raise AgentMistake(f"the task {task_id!r} {words}")
        return future


def _normal(address: str) -> str:
    """Return the address of one of the user's engines as the engine itself has it.

    Raises
    ------
    AgentMistake
        None of them is there; an agent reaches no others.
    """
    try:
        (engine,) = at(address)
    except (ValueError, TypeError):
        raise AgentMistake(
            f"none of the user's engines on this machine has the address {address!r}, and agents reach no others: "
            "list_engines tells their addresses; null is the default engine"
        ) from None
    return engine.address


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
