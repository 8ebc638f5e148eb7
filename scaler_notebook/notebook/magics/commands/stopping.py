"""``cancel`` and ``retry``."""

import argparse
from typing import Any

from IPython.core.error import UsageError

from scaler_notebook.client.executor import all_unfinished
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.client.session_log.live_futures import living
from scaler_notebook.notebook.magics import session_executor
from scaler_notebook.notebook.views import rows, static_html

from . import finding


def cancel_options(parser: argparse.ArgumentParser) -> None:
    """Of ``cancel``."""
    parser.add_argument("TASK", nargs="*", help="id, or name of what was called")
    parser.add_argument("--all", action="store_true", help="every unfinished task")
    parser.add_argument(
        "--force",
        action=argparse.BooleanOptionalAction,  # without a default, which some versions would add to the help
        help="kill the process of a task that does not stop within the grace period; otherwise it runs on, and the "
        "answer says so",
    )


def cancel(shell: Any, options: argparse.Namespace) -> None:
    """Ask all first, then wait for the answers."""
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
    found = [record.future() for word in words for record in finding.records(word, unfinished=True)]
    return list(dict.fromkeys(future for future in found if future is not None))


def retry_options(parser: argparse.ArgumentParser) -> None:
    """Of ``retry``."""
    parser.add_argument("TASK", nargs="?", help="id, or name of what was called: the latest of that name")
    parser.add_argument("--failed", action="store_true", help="every task of this session that failed")


def retry(shell: Any, options: argparse.Namespace) -> Any:
    """The new future of one, or a group of those of all that failed."""
    if options.failed == bool(options.TASK):
        raise UsageError("%scaler retry takes an id, a name, or --failed; %scaler history lists the tasks")
    if options.TASK:
        return session_executor.current().resubmit(finding.future(options.TASK))
    failed = [future for future in living() if future.failed]
    if not failed:
        print("nothing has failed")
        return None
    executor = session_executor.current()
    return FutureGroup([executor.resubmit(future) for future in failed], f"retry × {len(failed)}")
