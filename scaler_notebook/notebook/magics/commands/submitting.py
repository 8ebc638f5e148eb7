"""The commands that submit tasks: ``submit`` and ``map``."""

import argparse
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.notebook.magics import session_executor

from . import expressions


def add_expression_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument of ``submit`` to a parser, for the help alone: :func:`submit` gets the text."""
    parser.add_argument("EXPRESSION", help="a call, or any other expression")


def submit(shell: Any, text: str) -> ScalerFuture[Any]:
    """Submit an expression and return its future.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    text
        The expression.
    """
    __tracebackhide__ = True
    call = expressions.parse_call(text, shell.user_ns)
    return session_executor.current().submit_verbose(call.function, call.args, call.kwargs, name=text)


def add_map_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``map`` to a parser, for the help alone: :func:`map_` gets the text."""
    parser.add_argument("FUNCTION, ITERABLE, ...", help="what to call, and with what")


def map_(shell: Any, text: str) -> FutureGroup[Any]:
    """Submit a call for each item and return the futures as a group.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    text
        The function and the iterables.
    """
    __tracebackhide__ = True
    call = expressions.parse_map(text, shell.user_ns)
    return session_executor.current().map_async(call.function, *call.args)
