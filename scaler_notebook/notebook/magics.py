"""``%scaler``: submit an expression, see what runs, stop it."""

import ast
import symtable
from collections.abc import Callable, Iterator
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from ..client.executor import all_unfinished, latest
from ..client.future import ScalerFuture
from ..client.policy import DEFAULTS, Policy
from . import rendering, rows, session_executor

USAGE = """\
%scaler submit EXPRESSION      run it on a worker process; gives its future: fut = %scaler submit fit(X, alpha)
%scaler status                 what is queued and running
%scaler cancel ID [--force]    stop a task; --force kills its process if it does not stop by itself
%scaler cancel --all [--force] stop all of them
%scaler board                  every task of this session, live
%scaler config [NAME=VALUE]    grace=SECONDS, on_interrupt=ask|cancel|leave: for tasks from here on; alone: show them"""


@magics_class
class ScalerMagics(Magics):
    """The ``%scaler`` magic."""

    # Without it IPython would replace {alpha} in the line by the value of alpha.
    @no_var_expand
    @line_magic
    def scaler(self, line: str) -> Any:
        """Run, see and stop tasks; ``%scaler --help`` says how."""
        command, _, rest = line.strip().partition(" ")
        match command:
            case "submit":
                return self._submit(rest.strip())
            case "status":
                return _status()
            case "cancel":
                return _cancel(rest.split())
            case "board":
                return _board(rest.split())
            case "config":
                return _config(rest.split())
            case "" | "-h" | "--help" | "help":
                print(USAGE)
                return None
        raise UsageError(f"%scaler has no command {command!r}.\n{USAGE}")

    def _submit(self, expression: str) -> ScalerFuture[Any]:
        assert self.shell is not None
        function = compile_expression(expression, self.shell.user_ns)
        return session_executor.current().submit_expression(function, expression)


def compile_expression(expression: str, namespace: dict[str, Any]) -> Callable[[], Any]:
    """A function without arguments that evaluates exactly ``expression``, its names taken from ``namespace``.

    Raises
    ------
    SyntaxError
        It is no expression.
    NameError
        It names something that does not exist: better now than on the worker.
    """
    if not expression:
        raise UsageError(f"%scaler submit needs an expression.\n{USAGE}")
    ast.parse(expression, mode="eval")
    missing = [name for name in _globals(expression) if name not in namespace and name not in _builtins(namespace)]
    if missing:
        raise NameError(f"name {missing[0]!r} is not defined; nothing was submitted")
    function: Callable[[], Any] = eval(compile(f"lambda: (\n{expression}\n)", "<%scaler submit>", "eval"), namespace)
    return function


def _globals(expression: str) -> Iterator[str]:
    tables = [symtable.symtable(f"lambda: (\n{expression}\n)", "<expression>", "eval")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        yield from (s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced())


def _builtins(namespace: dict[str, Any]) -> dict[str, Any]:
    found = namespace.get("__builtins__", __builtins__)
    names: dict[str, Any] = found if isinstance(found, dict) else vars(found)
    return names


def _status() -> None:
    futures = all_unfinished()
    for future in futures:
        print(rendering.text(rows.row(future)))
    if not futures:
        print("nothing is queued or running")


def _board(words: list[str]) -> None:
    if words:
        raise UsageError(USAGE)
    from . import board_display  # with the first view: the widgets take 0.2 s to import

    board_display.show_session()


def _cancel(words: list[str]) -> None:
    force = "--force" in words
    everything = "--all" in words
    ids = [word for word in words if not word.startswith("--")]
    unknown = [word for word in words if word.startswith("--") and word not in ("--force", "--all")]
    if unknown or everything == bool(ids):
        raise UsageError(USAGE)
    unfinished = {future.task_id: future for future in all_unfinished()}
    futures = list(unfinished.values()) if everything else [_find(word, unfinished) for word in ids]
    for future in futures:
        future.request_cancel_unfinished(force)
    for future in futures:
        future.wait_for_answer()
        print(rendering.text(rows.row(future)))
        if future.refused:
            print(f"  it did not stop; %scaler cancel {future.task_id} --force kills its process")
    if not futures:
        print("nothing is queued or running")


def _config(words: list[str]) -> None:
    executor = latest()
    policies = [DEFAULTS] if executor is None else [DEFAULTS, executor.policy]
    wanted = Policy(policies[-1].grace, policies[-1].on_interrupt)
    for word in words:
        name, _, value = word.partition("=")
        if name not in vars(wanted) or not value:
            raise UsageError(f"%scaler config has no setting {word!r}.\n{USAGE}")
        try:
            setattr(wanted, name, float(value) if name == "grace" else value)
        except ValueError as error:
            raise UsageError(f"%scaler config {word}: {error}") from None
    for policy in policies if words else ():
        policy.grace, policy.on_interrupt = wanted.grace, wanted.on_interrupt
    print(f"grace={wanted.grace:g} on_interrupt={wanted.on_interrupt}")


def _find(word: str, unfinished: dict[str, ScalerFuture[Any]]) -> ScalerFuture[Any]:
    future = unfinished.get(word)
    if future is None:
        known = ", ".join(unfinished) or "none"
        raise UsageError(f"no unfinished task {word!r}; there are: {known}")
    return future
