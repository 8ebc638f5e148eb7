"""The table of the commands of ``%scaler``, in the order in which help shows them."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from IPython.core.error import UsageError

from scaler_notebook.suggestions import did_you_mean

from . import comments, engine, inspecting, stopping, submitting
from .parsing import HelpShown, MagicParser, add_json_option

ArgumentKind: TypeAlias = Literal["", "expression", "task", "unfinished task", "setting", "address"]


@dataclass(frozen=True)
class Command:
    """One command of ``%scaler``.

    Parameters
    ----------
    name
        The word after ``%scaler``.
    summary
        One line for the list of commands.
    handler
        Carries out the command, given the shell and the parsed options.
    add_options
        Adds the command's options to a parser.
    argument
        The kind of argument after the options, for completion; an ``expression`` is the rest of the line.
    notes
        What else the command's help says.
    """

    name: str
    summary: str
    handler: Callable[[Any, Any], Any]
    add_options: Callable[[argparse.ArgumentParser], object] = lambda parser: None
    argument: ArgumentKind = ""
    notes: str = ""

    @property
    def parser(self) -> MagicParser:
        """A parser of what follows the name."""
        parser = MagicParser(f"%scaler {self.name}", self.summary, self.notes)
        self.add_options(parser)
        return parser

    def run(self, shell: Any, rest: str) -> Any:
        """Parse the rest of the line and carry out the command.

        Parameters
        ----------
        shell
            The notebook's ``InteractiveShell``.
        rest
            The line after the command's name.
        """
        __tracebackhide__ = True
        parser = self.parser
        try:
            if self.argument != "expression":
                return self.handler(shell, parser.parse(rest))
            options = parser.parse_expression(comments.strip_expression_comment(rest))
            if not options.EXPRESSION:
                parser.error("an expression is missing")
            return self.handler(shell, options)
        except HelpShown:
            return None


COMMANDS = {
    command.name: command
    for command in (
        Command(
            "submit",
            "Run an expression on a worker process; gives its future.",
            submitting.submit,
            submitting.add_submit_arguments,
            "expression",
            "Of a call, the function and its arguments are evaluated here and the call runs there:\n"
            "    fut = %scaler submit fit(X, alpha=0.5)\n"
            "Any other expression runs there with the names that it uses:\n"
            "    fut = %scaler submit [fit(X, a) for a in alphas]\n"
            "The text is taken as it stands: {x} and $x are Python's, not IPython's.",
        ),
        Command(
            "map",
            "Call a function with each item of one or more iterables; gives the futures as a group.",
            submitting.map_,
            submitting.add_map_arguments,
            "expression",
            "As arguments are written in a call, or a name and then the iterables:\n"
            "    group = %scaler map fit, alphas, betas\n"
            "    group = %scaler map fit range(10)\n"
            "    group = %scaler map --retries 2 --run-timeout 60 fit, alphas",
        ),
        Command(
            "status", "Show the engine: its processes, their memory, and the queue.", engine.status, add_json_option
        ),
        Command(
            "cancel",
            "Stop tasks.",
            stopping.cancel,
            stopping.add_cancel_options,
            "unfinished task",
            "A name stops all unfinished tasks of that name. The answer is the engine's: a task that is said to be\n"
            "cancelled is gone.",
        ),
        Command("pause", "Keep what is queued from starting; what is running goes on.", stopping.pause),
        Command("resume", "Let what is queued start again.", stopping.resume),
        Command(
            "retry",
            "Submit calls again; gives the new future, or a group of them.",
            stopping.retry,
            stopping.add_retry_options,
            "task",
        ),
        Command("board", "Show every task of this session, live.", inspecting.board),
        Command(
            "history",
            "List the tasks of this session: states, times, output.",
            inspecting.history,
            inspecting.add_history_options,
        ),
        Command("logs", "Print what a task has written.", inspecting.logs, inspecting.add_logs_options, "task"),
        Command(
            "result",
            "Wait for a task and give its result, or raise its exception.",
            inspecting.result,
            inspecting.add_result_options,
            "task",
        ),
        Command(
            "debug",
            "Make the call of a task here, and start the debugger where it raises.",
            inspecting.debug,
            inspecting.add_task_argument,
            "task",
            "As fut.rerun_here() and %debug do: with the arguments as they were at the submit.",
        ),
        Command(
            "trace",
            "Show the messages of a task with their times.",
            inspecting.trace,
            inspecting.add_task_argument,
            "task",
        ),
        Command(
            "start",
            "Start the engine now; otherwise the first task does.",
            engine.start,
            engine.add_start_options,
        ),
        Command("scale", "Change how many tasks run at the same time.", engine.scale, engine.add_scale_options),
        Command("stop", "End the engine, and what it runs.", engine.stop, engine.add_stop_options),
        Command(
            "connect",
            "Use an engine that runs already on this machine: a cluster, or another notebook's.",
            engine.connect,
            engine.add_connect_options,
            "address",
            "`executor.address` says where an executor's engine is, as does %scaler status. In a terminal,\n"
            "`scaler-notebook cluster` starts one to share, and `scaler-notebook status` lists what runs.",
        ),
        Command(
            "config",
            "Show or change the settings of this session.",
            engine.config,
            engine.add_config_options,
            "setting",
            engine.SETTINGS_HELP,
        ),
    )
}


def run(shell: Any, line: str) -> Any:
    """Carry out a line that begins with ``%scaler``.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    line
        The line after ``%scaler``.

    Raises
    ------
    UsageError
        There is no such command; the message says what to type instead.
    """
    __tracebackhide__ = True
    name, _, rest = line.strip().partition(" ")
    if name.startswith("#"):
        name = rest = ""
    if name in ("", "-h", "--help", "help"):
        command = COMMANDS.get(comments.strip_word_comment(rest).strip())
        print(command.parser.format_help() if command is not None else overview(), end="")
        return None
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS)
        if not hint and name.isidentifier() is False:
            hint = f"; to run it: %scaler submit {line.strip()}"
        raise UsageError(f"%scaler has no command {name!r}{hint}\n{overview()}")
    return COMMANDS[name].run(shell, rest.strip())


def overview() -> str:
    """Write the list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  %scaler {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "Run, see and stop tasks:",
            *lines,
            f"  %%scaler {'':<{width - 1}}  Run the rest of the cell as one task.",
            "Each says more with --help.",
            "",
        ]
    )
