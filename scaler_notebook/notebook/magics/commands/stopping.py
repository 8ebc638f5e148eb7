"""The commands that act on tasks: ``cancel``, ``pause``, ``resume`` and ``retry``."""

import argparse
from typing import Any

from IPython.core.error import UsageError

from scaler_notebook.client import engine_report
from scaler_notebook.client.executor import all_unfinished
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.client.session_log.live_futures import living
from scaler_notebook.notebook.magics import session_executor
from scaler_notebook.notebook.views import rows
from scaler_notebook.notebook.views.static import static_html
from scaler_notebook.protocol.states import TaskState
from scaler_notebook.quantities import amount
from scaler_notebook.wording import counted

from . import finding


def add_cancel_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``cancel`` to a parser."""
    parser.add_argument("TASK", nargs="*", help="id, or name of what was called")
    parser.add_argument("--all", action="store_true", help="every unfinished task")
    parser.add_argument(
        "--force",
        action=argparse.BooleanOptionalAction,  # without ``default=``, which some versions of Python would show
        help="kill the process of a task that does not stop within the grace period; otherwise it runs on, and the "
        "answer says so",
    )


def cancel(shell: Any, options: argparse.Namespace) -> None:
    """Ask all tasks to stop, then wait for the answers and print them.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The arguments, parsed by a parser of :func:`add_cancel_options`.
    """
    if options.all == bool(options.TASK):
        raise UsageError("%scaler cancel takes an id, a name, or --all; %scaler status lists what runs")
    futures = all_unfinished() if options.all else _unfinished(options.TASK)
    for future in futures:
        future.request_cancel_unfinished(bool(options.force))
    for future in futures:
        future.wait_for_answer()
        print(static_html.text(rows.row(future)))
        if future.refused:
            print(f"  it did not stop; %scaler cancel {future.task_id} --force kills its process")
    if not futures:
        print("nothing is queued or running")


def _unfinished(words: list[str]) -> list[ScalerFuture[Any]]:
    """Return the futures of the unfinished tasks that words mean, each once."""
    found = [record.future() for word in words for record in finding.find_records(word, unfinished=True)]
    return list(dict.fromkeys(future for future in found if future is not None))


def pause(shell: Any, options: argparse.Namespace) -> None:
    """Keep what is queued from starting.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The arguments, of which there are none.
    """
    try:
        session_executor.current().pause()
    except ValueError as error:
        raise UsageError(f"%scaler pause: {error}") from None
    print("nothing that is queued starts until %scaler resume; what is running goes on")


def resume(shell: Any, options: argparse.Namespace) -> None:
    """Let what is queued start again.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The arguments, of which there are none.
    """
    executor = session_executor.present()
    if executor is None or engine_report.report(executor).state != "paused":
        print("nothing is paused")
        return
    queued = sum(future.state is TaskState.SUBMITTED for future in executor.unfinished())
    executor.resume()
    print(f"{counted(queued, 'queued task')} may start" if queued else "tasks start again")


def add_retry_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``retry`` to a parser."""
    parser.add_argument("TASK", nargs="?", help="id, or name of what was called: of several, the latest")
    parser.add_argument("--failed", action="store_true", help="every task of this session that failed")


def retry(shell: Any, options: argparse.Namespace) -> Any:
    """Submit a call again and return its future; with ``--failed``, all calls that failed, as a group.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The arguments, parsed by a parser of :func:`add_retry_options`.
    """
    if options.failed == bool(options.TASK):
        raise UsageError("%scaler retry takes an id, a name, or --failed; %scaler history lists the tasks")
    if options.TASK:
        return session_executor.current().resubmit(finding.find_future(options.TASK))
    failed = [future for future in living() if future.failed]
    if not failed:
        print("nothing has failed")
        return None
    executor = session_executor.current()
    return FutureGroup([executor.resubmit(future) for future in failed], f"retry × {amount(len(failed))}")
