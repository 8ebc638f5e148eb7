"""The options of tasks, as ``%%scaler``, ``%scaler submit`` and ``%scaler map`` have them."""

import argparse
from typing import Any

from scaler_notebook.client.submission.capability_argument import parse_capability

from .parsing import seconds


def add_task_options(parser: argparse.ArgumentParser, shown: str) -> None:
    """Add the options of what is submitted to a parser.

    Parameters
    ----------
    parser
        The parser.
    shown
        What is shown instead of the name if none is given, for the help.
    """
    add = parser.add_argument
    add("--name", help=f"what cards and boards show; otherwise {shown}")
    add(
        "--timeout", type=seconds, metavar="S", help="cancel a task that has not ended so many seconds after its submit"
    )
    add("--run-timeout", type=seconds, metavar="S", help="cancel a task that has run for so many seconds, in each try")
    add("--retries", type=int, metavar="N", help="run a task again so many times if it raises an exception")
    add("--priority", type=int, metavar="N", help="higher ones start first; 0 otherwise")
    add(
        "--needs",
        type=parse_capability,
        action="append",
        metavar="NAME=N",
        help="e.g. licence=1, of what %%scaler start --capability gave",
    )
    add("--gpus", type=float, metavar="N", help="so many GPUs, or a share of one, of what %%scaler start --gpus gave")


def submit_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that a parser of :func:`add_task_options` was given, as ``submit_verbose`` takes them."""
    given = {
        "name": options.name or None,
        "timeout": options.timeout,
        "run_timeout": options.run_timeout,
        "retries": options.retries,
        "priority": options.priority,
        "capabilities": dict(options.needs) if options.needs else None,
        "gpus": options.gpus,
    }
    return {name: value for name, value in given.items() if value is not None}
