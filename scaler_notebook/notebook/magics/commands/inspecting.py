"""``board``, ``history``, ``logs``, ``result`` and ``trace``: what became of the tasks."""

import argparse
import sys
from typing import Any

from IPython.display import display

from scaler_notebook.client.session_log import history as client_history
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.notebook.kernel.host import kernel_host
from scaler_notebook.notebook.magics import tables
from scaler_notebook.notebook.views import static_html

from . import finding

SHOWN = 50  # tasks that ``history`` lists, unless told otherwise


def one_task(parser: argparse.ArgumentParser) -> None:
    """One task."""
    parser.add_argument("TASK", help="id, or name of what was called: the latest of that name")


def board(shell: Any, options: argparse.Namespace) -> None:
    """The board of the session; a terminal gets the history."""
    if kernel_host() is None:
        _list(SHOWN)
        return
    from scaler_notebook.notebook.views.board import display as board_display

    board_display.show_session()


def history_options(parser: argparse.ArgumentParser) -> None:
    """Of ``history``."""
    parser.add_argument("-n", type=int, default=SHOWN, metavar="TASKS", help=f"the last so many; {SHOWN} otherwise")


def history(shell: Any, options: argparse.Namespace) -> None:
    """The tasks of the session."""
    _list(options.n)


def _list(count: int) -> None:
    records = list(client_history.session)[-max(0, count) :]
    if not records:
        print("no task was submitted in this session")
        return
    left_out = len(client_history.session) - len(records)
    table = tables.history(records)
    note = f"{left_out} earlier ones are left out; %scaler history -n {left_out + len(records)} shows all"
    display(tables.bundle(table, [note] if left_out else []), raw=True)


def logs_options(parser: argparse.ArgumentParser) -> None:
    """Of ``logs``."""
    one_task(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the task ends, or the stop button")


def logs(shell: Any, options: argparse.Namespace) -> None:
    """What it has written; of one whose future is gone, the end of that."""
    record = finding.record(options.TASK)
    future = record.future()
    if future is None:
        print(record.now().output, end="")
        return
    printed = 0
    while True:
        changed = Signal()

        def look(_: object, changed: Signal = changed) -> None:
            changed.set()

        future.watch(look)
        try:
            over = future.done()
            text = future.last_output(sys.maxsize)[0]
            print(text[printed:], end="", flush=True)
            printed = len(text)
            if over or not options.follow:
                return
            current_host().wait(changed, None)  # the stop button ends this, and leaves the task alone
        finally:
            future.unwatch(look)


def result_options(parser: argparse.ArgumentParser) -> None:
    """Of ``result``."""
    one_task(parser)
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="how long to wait; for ever otherwise")


def result(shell: Any, options: argparse.Namespace) -> Any:
    """Its result, waited for."""
    __tracebackhide__ = True
    return finding.future(options.TASK).result(options.timeout)


def trace(shell: Any, options: argparse.Namespace) -> Any:
    """Its messages."""
    print(static_html.plain(str(finding.record(options.TASK).now().trace)))
