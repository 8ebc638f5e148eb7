"""Tracebacks as a notebook shows them: without frames of this package, unless the error is a fault of this package.

Who passes a lock to a task, misspells an option or presses the stop button looks for the line of their own, and not for
where this package has noticed it. IPython hides frames by ``__tracebackhide__``, but never the one that has raised.
"""

import asyncio
import contextlib
import dis
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from scaler_notebook.task.modules.installation import is_installed

OURS = str(Path(__file__).parents[1]) + os.sep
_RAISES = {"RAISE_VARARGS", "RERAISE"}
ATTRIBUTES = "__traceback__", "__cause__", "__context__", "__suppress_context__"  # in an order in which they can be set
set_attribute = BaseException.__setattr__  # past the exception's own: it may be a frozen dataclass


def install(shell: Any) -> None:
    """Have a shell show tracebacks without frames of this package; idempotent.

    Whoever replaces ``shell.showtraceback`` later (rich does) decides alone.
    """
    show = shell.showtraceback
    if getattr(show, "without_ours", False):
        return

    @functools.wraps(show)
    def showtraceback(exc_tuple: Any = None, *args: Any, **options: Any) -> Any:
        """Show an exception, as IPython's method does.

        Parameters
        ----------
        exc_tuple
            As from ``sys.exc_info()``; None for the current exception.
        args, options
            As for IPython's method.
        """
        kind, error, traceback = sys.exc_info() if exc_tuple is None else exc_tuple
        if error is None:
            return show(exc_tuple, *args, **options)
        with _chain_without_ours(error):
            shown = without_ours(error, traceback)
            if isinstance(error, SyntaxError) and shown is not traceback and sys.version_info < (3, 11):
                options["running_compiled_code"] = False  # IPython would ask sys for the traceback
            return show((kind, error, shown), *args, **options)

    vars(showtraceback)["without_ours"] = True
    shell.showtraceback = showtraceback


@contextlib.contextmanager
def _chain_without_ours(error: BaseException) -> Iterator[None]:
    """Within ``with``, cut frames of this package from an exception and those that it follows from.

    One that was raised below this package's code, and that no frame of the user's has seen, is left out: the message of
    the exception that follows says what it says.
    """
    before: list[tuple[BaseException, dict[str, Any]]] = []
    one: BaseException | None = error
    while one is not None and all(one is not seen for seen, _ in before):
        before.append((one, {name: getattr(one, name) for name in ATTRIBUTES}))
        set_attribute(one, "__traceback__", without_ours(one, one.__traceback__))
        followed = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        if followed is not None and _is_of_no_interest(followed):
            set_attribute(one, "__cause__", None)
            set_attribute(one, "__suppress_context__", True)
            followed = None
        one = followed
    try:
        yield
    finally:
        for one, attributes in before:
            for name, value in attributes.items():
                set_attribute(one, name, value)


def _is_of_no_interest(error: BaseException) -> bool:
    """Return whether frames of this package have seen an exception, and none of the user's."""
    entries = list(_entries(error.__traceback__))
    return any(map(_is_ours, entries)) and not any(map(_is_users, entries))


def without_ours(error: BaseException, traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback without frames of this package; as it is if it has none, or the fault is ours.

    Parameters
    ----------
    error
        The exception.
    traceback
        Its traceback.
    """
    entries = list(_entries(traceback))
    if not any(map(_is_ours, entries)) or _is_our_fault(error, entries):
        return traceback
    first, last = (next((i for i in order if _is_users(entries[i])), -1) for order in _both_ways(len(entries)))
    behind = entries[last + 1 :]
    kept = [
        *entries[: first + 1],  # IPython counts on its own frame in front of the user's
        *(entry for entry in entries[first + 1 : last + 1] if not _is_ours(entry) and not _is_ipythons(entry)),
        *(behind if not any(map(_is_ours, behind)) else ()),
    ]
    shown: TracebackType | None = None
    for entry in reversed(kept):
        shown = TracebackType(shown, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return shown


def _entries(traceback: TracebackType | None) -> Iterator[TracebackType]:
    """Yield the entries of a traceback, outermost first."""
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _both_ways(count: int) -> tuple[range, range]:
    """Return the numbers below ``count``, upwards and downwards."""
    return range(count), range(count - 1, -1, -1)


def _is_our_fault(error: BaseException, entries: list[TracebackType]) -> bool:
    """Return whether an exception comes from a fault of this package: not raised on purpose, nor by others' code.

    Parameters
    ----------
    error
        The exception.
    entries
        Its traceback, outermost first.
    """
    if isinstance(error, KeyboardInterrupt | asyncio.CancelledError | SyntaxError):
        return False
    if isinstance(error, AssertionError) and _is_ours(entries[-1]):
        return True
    if _is_ours(entries[-1]):
        code = entries[-1].tb_frame.f_code.co_code
        return dis.opname[code[entries[-1].tb_lasti]] not in _RAISES
    decisive = next((entry for entry in reversed(entries) if _is_ours(entry) or _is_users(entry)), None)
    return decisive is not None and _is_ours(decisive)  # a library raises what we should have kept from it


def _is_ours(entry: TracebackType) -> bool:
    return entry.tb_frame.f_code.co_filename.startswith(OURS)


def _is_ipythons(entry: TracebackType) -> bool:
    return str(entry.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == "IPython"


def _is_users(entry: TracebackType) -> bool:
    """Return whether the code of a frame is the user's."""
    file = entry.tb_frame.f_code.co_filename
    return not is_installed(file) and not file.startswith("<frozen")
