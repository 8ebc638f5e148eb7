"""``%%scaler``: run the rest of the cell as one task."""

import argparse
import copy
import secrets
from functools import partial
from typing import Any

from IPython.display import display

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.submission.call_text import CodeText
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.notebook.magics import session_executor
from scaler_notebook.notebook.magics.cells.cell import PreparedCell, prepare_cell
from scaler_notebook.notebook.magics.cells.promised_names import PROMISED
from scaler_notebook.notebook.settings_store import settings
from scaler_notebook.notebook.views.settle import settle
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.errors import TaskSerializationError
from scaler_notebook.task.calls.cell import CellEnvironment

from .parsing import HelpShown, MagicParser, seconds
from .task_options import add_task_options, submit_options

NOTES = """\
The task gets the names that the code reads, by value: what it changes in them stays in the task. Its result is what it
has assigned, by name: fut.result()["model"]; with --out it is put into the notebook when the task ends. The value of
the last expression, figures and other displays, and what is printed, land in the card. Functions and classes that come
back keep the global names that they had in the task."""


def parser() -> MagicParser:
    """Build the parser of the line after ``%%scaler``."""
    found = MagicParser("%%scaler", "Run the rest of the cell as one task; a card shows how it goes.", NOTES)
    add = found.add_argument
    add(
        "--in",
        dest="given",
        type=_parse_names,
        default=(),
        metavar="A,B",
        help="names that travel too, unseen in the code",
    )
    add(
        "--out",
        type=_parse_names,
        default=(),
        metavar="A,B",
        help="names to put into the notebook; '*': all it assigns",
    )
    add("--wait", action="store_true", help="wait for the end; an exception of the task is raised here")
    add_task_options(found, "the first line of code")
    add("--force-copy", action="store_true", help="send the values anew, even if the engine has equal ones")
    add(
        "--progress-after",
        type=seconds,
        metavar="S",
        help="show a live card only if the task has not ended after so many seconds (%%scaler config progress_after)",
    )
    return found


def run(shell: Any, line: str, body: str) -> ScalerFuture[Any] | None:
    """Submit a cell; its future is displayed as a card.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    line
        The line after ``%%scaler``.
    body
        The other lines of the cell.

    Returns
    -------
    ScalerFuture[Any] | None
        The future; None with ``--wait`` and ``--help``.

    Raises
    ------
    UsageError, SyntaxError, NameError, TaskSerializationError
        Nothing was submitted; the message says why.
    BaseException
        With ``--wait``, what the task raises.
    """
    __tracebackhide__ = True
    try:
        options = parser().parse(line)
        wanted = submit_options(options)
    except HelpShown:
        return None
    prepared = prepare_cell(shell, f"%%scaler {line}".rstrip(), body, options.given, options.out)
    for name, size in prepared.large:
        print(f"{name} has {size / 1e9:.1f} GB: it is copied to where tasks read it; again only if it has changed")
    future = _submit_cell(prepared, {"name": CodeText(prepared.title), **wanted}, options.force_copy)
    future.shows_result = False
    patience = settings.progress_after if options.progress_after is None else options.progress_after
    undisturbed = settle(future, patience)
    try:
        if not options.wait:
            return future
        display(future)
        if not undisturbed:
            raise KeyboardInterrupt  # ``settle`` has caught it; with --wait it ends the cell
        future.result()
        return None
    finally:
        if options.out:
            source = prepared.source
            PROMISED.promise(shell, source.assigns if "*" in options.out else options.out, future)
        if options.out and future.done():
            _push_result(shell, future)  # not posted: the next cell, which may read the names, could run before
        elif options.out:
            current_host().call_at_end(future, partial(_push_result, shell, future))


def _parse_names(text: str) -> tuple[str, ...]:
    """Parse names that are separated by commas; ``*`` may be among them. For argparse's ``type=``."""
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in found:
        if name != "*" and not name.isidentifier():
            raise argparse.ArgumentTypeError(f"{name!r} is no name; names are separated by commas")
    return found


def _submit_cell(prepared: PreparedCell, options: dict[str, Any], force_copy: bool) -> ScalerFuture[Any]:
    """Submit a cell; an error of pickling names the variable that is at fault.

    Parameters
    ----------
    prepared
        The cell.
    options
        Options of ``submit_verbose``.
    force_copy
        Whether the values are sent anew, even if the engine has equal ones.
    """
    __tracebackhide__ = True
    environment = prepared.environment
    if force_copy:
        environment = environment.copy_with_salt(copy.deepcopy, secrets.token_hex(8))
    executor = session_executor.current()
    try:
        return executor.submit_verbose(environment, (prepared.source,), **options)
    except TaskSerializationError:
        for name, value in environment.values.items():
            try:
                payloads.dump(CellEnvironment({name: value}, environment.namespace))
            except Exception as problem:
                raise payloads.serialization_error(f"the variable {name!r}", value, problem) from None
        raise


def _push_result(shell: Any, future: ScalerFuture[Any]) -> None:
    """Put the names that a cell has assigned into the notebook, if it ended well.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    future
        The future of the cell, which is done.
    """
    if not future.cancelled() and future.exception(0) is None:  # not of a result that cannot be loaded here
        shell.push(dict(future.result(0)), interactive=True)
    PROMISED.settle(future)


CELL_OPTIONS = parser().options
