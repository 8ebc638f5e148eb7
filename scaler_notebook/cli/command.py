"""``scaler-notebook``: the commands and their options."""

import argparse
import os
import sys
from collections.abc import Sequence

from scaler_notebook import __version__
from scaler_notebook.client.submission.capability_argument import parse_capability
from scaler_notebook.client.submission.checked_values import MAX_WORKERS, checked_seconds
from scaler_notebook.protocol.errors import EngineStartError

from . import doctor, listing, serving

EXAMPLES = """\
Several notebooks on one engine:
    scaler-notebook cluster --address tcp://127.0.0.1:8800 --workers 4 --detach
    scaler-notebook status
    scaler-notebook stop tcp://127.0.0.1:8800

In a notebook: NotebookExecutor("tcp://127.0.0.1:8800"), or %scaler connect tcp://127.0.0.1:8800

Each command says more with --help. Exit status: 0 as it should be, 1 if not, 2 for a command line that is none.
"""
CLUSTER = """\
Only you can use it: who connects needs the keys, which are in a file that only you can read. Tasks run in the
directory, with the path and the environment of the notebook that submits them. When a notebook ends, what it left
unfinished is cancelled; what the others run goes on.

Exit status: 0 after Ctrl-C, a termination signal or `scaler-notebook stop`; 1 if it could not start, or died.
"""
STATUS = """\
An engine is a cluster's, or the own one of a notebook or a script: what `NotebookExecutor()` starts.
UPTIME is the time since its start; `--json` gives it in seconds, and null for what an engine does not answer.

Exit status: 0, also when there is none.
"""
TASKS = """\
Those of all clients of yours, the first thousand of each engine: what runs, then what waits. FOR is the time since the
task's start or, if it has not started, since its submission.

Exit status: 0, also when there is none; 1 if no engine of yours is at the address.
"""
STOP = """\
What an engine runs ends with it; its clients are told. A notebook's or script's own engine, and a protected cluster,
are left alone unless --force is given: that ends them without asking, and kills what does not end.

Exit status: 0 if all that was named has ended, 1 otherwise.
"""
MCP = """\
An agent's program starts it, in the project's directory, and ends it by closing its stdin. What the agent has started
and is unfinished then is cancelled. Needs the package `mcp`: pip install 'mcp>=2,<3'

Exit status: 0; 1 if the package is missing, or no engine of yours is at the address.
"""
DOCTOR = """\
Nothing is changed. The engine that it starts to try one is gone when it ends.

Exit status: 0 if nothing is wrong (what is marked `note` is not), 1 otherwise.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line.

    Parameters
    ----------
    arguments
        The words after the command's name; by default those of this process.

    Returns
    -------
    int
        The exit status.
    """
    options = parser().parse_args(arguments)
    try:
        status: int = options.handler(options)
        sys.stdout.flush()
        return status
    except EngineStartError as error:
        print(f"scaler-notebook: {error}", file=sys.stderr)
    except BrokenPipeError:  # the other end of a pipe has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        pass
    return 1


def parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line."""
    top = _CommandParser(
        prog="scaler-notebook",
        description="Engines that run notebooks' tasks on this machine: start one to share, list, stop, check.",
        epilog=EXAMPLES,
    )
    top.add_argument("--version", action="version", version=f"scaler-notebook {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    cluster = commands.add_parser(
        "cluster",
        help="run an engine that several notebooks of yours share",
        description="Run an engine that several notebooks of yours share, until Ctrl-C.",
        epilog=CLUSTER,
    )
    cluster.add_argument(
        "--address", metavar="ADDRESS", help="tcp://127.0.0.1:PORT or ipc:///PATH; any free TCP port otherwise"
    )
    cluster.add_argument(
        "--workers",
        "-n",
        type=_parse_workers,
        metavar="N",
        help="how many tasks run at the same time; the cores otherwise",
    )
    cluster.add_argument(
        "--capability",
        type=parse_capability,
        action="append",
        metavar="NAME=N",
        help="what its tasks share in all, e.g. licence=2; may be given several times",
    )
    cluster.add_argument(
        "--gpus",
        metavar="GPUS",
        help="what its tasks may be given: auto, a number of GPUs, or their numbers, e.g. 0,1",
    )
    cluster.add_argument(
        "--idle-timeout",
        type=_parse_seconds,
        metavar="S",
        help="processes that have been idle for so many seconds go, and come back on demand",
    )
    cluster.add_argument("--protected", action="store_true", help="clients cannot end it; `stop --force` can")
    cluster.add_argument(
        "--detach", action="store_true", help="return when it is ready; it goes on without this terminal, until `stop`"
    )
    cluster.add_argument(
        "--report", action="store_true", help=argparse.SUPPRESS
    )  # for the process that --detach starts
    cluster.set_defaults(handler=serving.run)

    status = commands.add_parser(
        "status",
        help="list your engines on this machine",
        description="List your engines on this machine: clusters, and those of notebooks and scripts.",
        epilog=STATUS,
    )
    status.add_argument("--json", action="store_true", help="as a JSON object, for programs")
    status.set_defaults(handler=listing.status)

    tasks = commands.add_parser(
        "tasks",
        help="list the unfinished tasks of your engines",
        description="List the unfinished tasks of your engines, whichever notebook has submitted them.",
        epilog=TASKS,
    )
    tasks.add_argument("ADDRESS", nargs="?", help="those of this engine alone, as `scaler-notebook status` shows it")
    tasks.add_argument("--json", action="store_true", help="as a JSON object, for programs")
    tasks.set_defaults(handler=listing.tasks)

    stop = commands.add_parser("stop", help="end clusters", description="End clusters, and what they run.", epilog=STOP)
    which = stop.add_mutually_exclusive_group(required=True)
    which.add_argument("ADDRESS", nargs="?", help="as `scaler-notebook status` shows it")
    which.add_argument("--all", action="store_true", help="every cluster of yours on this machine")
    stop.add_argument("--force", action="store_true", help="protected ones and notebooks' own engines too")
    stop.set_defaults(handler=listing.stop)

    mcp = commands.add_parser(
        "mcp",
        help="serve your engines to a coding agent, by the Model Context Protocol",
        description="Serve your engines to a coding agent, by the Model Context Protocol (MCP) on stdin and stdout.",
        epilog=MCP,
    )
    mcp.add_argument(
        "--address",
        metavar="ADDRESS",
        help="the engine for tasks that name none, as `status` shows it; an engine of its own otherwise",
    )
    mcp.set_defaults(handler=serve_agents)

    checks = commands.add_parser(
        "doctor",
        help="check that this environment has what is needed",
        description="Check Python, the kernel, front ends, widgets, the engine and the system's limits.",
        epilog=DOCTOR,
    )
    checks.set_defaults(handler=doctor.run)
    return top


def serve_agents(options: argparse.Namespace) -> int:
    """Serve the user's engines to a coding agent until it closes the connection."""
    try:
        from .agents import mcp_server  # an optional package, which other commands do without
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        print("scaler-notebook: mcp is not installed: pip install 'mcp>=2,<3'", file=sys.stderr)
        return 1
    return mcp_server.run(options.address)


class _CommandParser(argparse.ArgumentParser):
    """A parser that shows texts as they are written, and takes no abbreviated options.

    Parameters
    ----------
    settings
        As for :class:`argparse.ArgumentParser`.
    """

    def __init__(self, **settings: object) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        settings.setdefault("allow_abbrev", False)
        super().__init__(**settings)  # type: ignore[arg-type]


def _parse_workers(text: str) -> int:
    """Parse a number of workers. For argparse's ``type=``."""
    if not text.isdecimal() or not 1 <= int(text) <= MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of workers: 1 to {MAX_WORKERS}")
    return int(text)


def _parse_seconds(text: str) -> float:
    """Parse a positive number of seconds. For argparse's ``type=``."""
    try:
        return checked_seconds("it", float(text))
    except (TypeError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0") from None
