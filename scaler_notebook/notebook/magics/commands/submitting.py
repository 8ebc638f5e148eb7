"""The commands that submit tasks: ``submit`` and ``map``."""

import argparse
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.client.submission.call_text import CodeText
from scaler_notebook.notebook.magics import session_executor

from . import expressions
from .task_options import add_task_options, submit_options


def add_submit_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options and the argument of ``submit`` to a parser."""
    add_task_options(parser, "the expression")
    parser.add_argument("EXPRESSION", help="a call, or any other expression")


def submit(shell: Any, options: argparse.Namespace) -> ScalerFuture[Any]:
    """Submit an expression and return its future.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The arguments, parsed by a parser of :func:`add_submit_arguments`.
    """
    __tracebackhide__ = True
    wanted = {"name": CodeText(options.EXPRESSION), **submit_options(options)}
    call = expressions.parse_call(options.EXPRESSION, shell.user_ns)
    return session_executor.current().submit_verbose(call.function, call.args, call.kwargs, **wanted)


def add_map_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options and the arguments of ``map`` to a parser."""
    add_task_options(parser, "the function's and how many calls")
    parser.add_argument("EXPRESSION", metavar="FUNCTION, ITERABLE, ...", help="what to call, and with what")


def map_(shell: Any, options: argparse.Namespace) -> FutureGroup[Any]:
    """Submit a call for each item and return the futures as a group.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The arguments, parsed by a parser of :func:`add_map_arguments`.
    """
    __tracebackhide__ = True
    wanted = submit_options(options)
    call = expressions.parse_map(options.EXPRESSION, shell.user_ns)
    return session_executor.current().map_async(call.function, *call.args, **wanted)
