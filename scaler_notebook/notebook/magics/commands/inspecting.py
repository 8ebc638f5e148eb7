"""The commands that show tasks: ``board``, ``history``, ``logs``, ``result``, ``debug`` and ``trace``."""

import argparse
import sys
from typing import Any

from IPython.core.error import StdinNotImplementedError, UsageError
from IPython.display import display

from scaler_notebook.client.futures.completion import wait
from scaler_notebook.client.session_log import history as client_history
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.notebook.kernel.host import kernel_host
from scaler_notebook.notebook.magics import documents, tables
from scaler_notebook.notebook.views.static import terminal_text

from . import finding
from .parsing import add_json_option, positive

DEFAULT_COUNT = 50  # tasks that ``history`` lists by default


def add_task_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument of a command about one task to a parser."""
    parser.add_argument(
        "TASK",
        nargs="?",
        default="",
        help="id, or name of what was called: of several, the latest; none: the last task",
    )


def board(shell: Any, options: argparse.Namespace) -> None:
    """Display the board of the session; in a terminal, its history.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The command has none.
    """
    if kernel_host() is None:
        _show_history(DEFAULT_COUNT)
        return
    from scaler_notebook.notebook.views.board import display as board_display

    board_display.show_session()


def add_history_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``history`` to a parser."""
    parser.add_argument(
        "-n",
        type=positive,
        default=DEFAULT_COUNT,
        metavar="TASKS",
        help=f"how many of the latest tasks; {DEFAULT_COUNT} otherwise",
    )
    add_json_option(parser)


def history(shell: Any, options: argparse.Namespace) -> None:
    """Display the tasks of the session.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The arguments, parsed by a parser of :func:`add_history_options`.
    """
    if options.json:
        documents.show(tasks=documents.tasks(list(client_history.session)[-options.n :]))
    else:
        _show_history(options.n)


def _show_history(count: int) -> None:
    """Display the latest ``count`` tasks of the session."""
    records = list(client_history.session)[-count:]
    if not records:
        print("no task was submitted in this session")
        return
    left_out = len(client_history.session) - len(records)
    table = tables.history_table(records)
    note = f"{left_out} earlier ones are left out; %scaler history -n {left_out + len(records)} shows all"
    display(tables.bundle(table, [note] if left_out else []), raw=True)


def add_logs_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``logs`` to a parser."""
    add_task_argument(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the task ends, or the stop button")
    add_json_option(parser)


def logs(shell: Any, options: argparse.Namespace) -> None:
    """Print the output of a task; if its future is gone, the end of the output, which is all that is left.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The arguments, parsed by a parser of :func:`add_logs_options`.
    """
    record = finding.find_record(options.TASK)
    future = record.future()
    if options.json:
        if options.follow and future is not None:
            wait([future])
        output = record.now().output if future is None else future.last_output(sys.maxsize)[0]
        documents.show(task=client_history.record_form(record), output=output)
        return
    if future is None:
        print(record.now().output, end="")
        return
    printed = 0
    while True:
        changed = Signal()

        def on_change(_: object, changed: Signal = changed) -> None:
            """Wake the wait for more output."""
            changed.set()

        future.watch(on_change)
        try:
            over = future.done()
            text = future.last_output(sys.maxsize)[0]
            print(text[printed:], end="", flush=True)
            printed = len(text)
            if over or not options.follow:
                return
            current_host().wait(changed, None)  # the stop button ends this wait, and leaves the task alone
        finally:
            future.unwatch(on_change)


def add_result_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``result`` to a parser."""
    add_task_argument(parser)
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="how long to wait; for ever otherwise")
    add_json_option(parser)


def result(shell: Any, options: argparse.Namespace) -> Any:
    """Wait for a task and return its result.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The arguments, parsed by a parser of :func:`add_result_options`.
    """
    __tracebackhide__ = True
    future = finding.find_future(options.TASK)
    if not options.json:
        return future.result(options.timeout)
    found = documents.outcome(future, options.timeout)
    documents.show(task=client_history.record_form(finding.find_record(future.task_id)), **found)
    return None


def debug(shell: Any, options: argparse.Namespace) -> Any:
    """Make the call of a task in the notebook, and start the debugger where it raises; else return its value.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The arguments, parsed by a parser of :func:`add_task_argument`.
    """
    __tracebackhide__ = True
    future = finding.find_future(options.TASK)
    if future.task is None:
        raise UsageError(f"the arguments of {future.call} are gone: make the call itself, and then %debug")
    call = future.call
    try:
        value = future.rerun_here()
    except Exception:
        del future  # the traceback would keep it alive
        shell.showtraceback()
        try:
            shell.debugger(force=True)
        except StdinNotImplementedError:
            print("the debugger needs input, which there is none of where nobody sees this notebook")
        return None
    print(f"{call} has raised nothing here")
    return value


def trace(shell: Any, options: argparse.Namespace) -> Any:
    """Print the messages of a task.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The arguments, parsed by a parser of :func:`add_task_argument`.
    """
    print(terminal_text.plain(str(finding.find_record(options.TASK).now().trace)))
