"""Parsers for magics: an error is IPython's ``UsageError``, which says what to type instead; help ends no process."""

import argparse
import math
import re
import shlex
from typing import Any, NoReturn

from IPython.core.error import UsageError

from scaler_notebook.suggestions import did_you_mean
from scaler_notebook.wording import sentence

from . import comments

# An option before an expression, and its value; quotes hold blanks together, as in a shell.
OPTION = re.compile(r"""(?:-h|--[A-Za-z][\w-]*(?:=(?:'[^']*'|"[^"]*"|[^\s'"])*)?)(?=\s|$)""")
VALUE = re.compile(r"""(?:'[^']*'|"[^"]*"|[^\s'"])+""")


class HelpShown(Exception):
    """``--help`` was asked for, and the help was printed."""


def seconds(text: str) -> float:
    """Parse a number of seconds, at least 0. For argparse's ``type=``."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def positive(text: str) -> int:
    """Parse a whole number, at least 1. For argparse's ``type=``."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add the option of a command that can say what it finds to a program."""
    parser.add_argument("--json", action="store_true", help="print a JSON object, for programs")


class MagicParser(argparse.ArgumentParser):
    """The options of one command.

    Parameters
    ----------
    name
        The command as it is typed, e.g. ``%scaler cancel``.
    summary
        One line about the command.
    notes
        What else there is to know, shown below the options.
    """

    def __init__(self, name: str, summary: str, notes: str = "") -> None:
        super().__init__(
            prog=name,
            description=summary,
            epilog=notes or None,
            formatter_class=_Formatter,
            allow_abbrev=False,
        )

    @property
    def options(self) -> list[str]:
        """All options, with their dashes."""
        return [text for action in self._actions for text in action.option_strings]

    def parse(self, line: str) -> argparse.Namespace:
        """Parse a line, split into words as a shell would; variables of the notebook are not looked up.

        Raises
        ------
        UsageError
            The words are not what the command takes.
        HelpShown
            Help was asked for.
        """
        try:
            words = shlex.split(comments.strip_word_comment(line))
        except ValueError as error:
            self.error(str(error).lower())
        options, rest = self.parse_known_args(words)
        if rest:
            self.error(f"{rest[0]!r} is not understood{did_you_mean(rest[0], self.options)}")
        return options

    def parse_expression(self, text: str) -> argparse.Namespace:
        """Parse options, and the expression behind them as it stands: the parser's one positional argument.

        Raises
        ------
        UsageError, HelpShown
            As :meth:`parse`.
        """
        words = []
        while (option := OPTION.match(text)) is not None:
            words += shlex.split(option[0])
            text = text[option.end() :].lstrip()
            action = self._option_string_actions.get(words[-1])
            if action is not None and action.nargs != 0 and (value := VALUE.match(text)) is not None:
                words += shlex.split(value[0])
                text = text[value.end() :].lstrip()
        if unknown := [word for word in words if word.startswith("--") and word.partition("=")[0] not in self.options]:
            self.error(f"{unknown[0]!r} is not understood{did_you_mean(unknown[0], self.options)}")
        return self.parse_args([*words, "--", text])

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError with the usage of the command."""
        usage = re.sub(r"\s+", " ", self.format_usage()).strip()
        raise UsageError(f"{self.prog}: {sentence(message)}\n{usage}\n{self.prog} --help says more")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Raise :class:`HelpShown`, where argparse would end the process.

        Parameters
        ----------
        status, message
            As for :meth:`argparse.ArgumentParser.exit`.
        """
        raise HelpShown


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Formats help alike for every width of terminal and version of Python.

    A notebook has no terminal to ask for its width, and docs/magics.md shows the same text.

    Parameters
    ----------
    prog
        The command as it is typed.
    settings
        As for :class:`argparse.HelpFormatter`.
    """

    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog, **{**settings, "width": 100, "max_help_position": 28})

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Write an option's names once, with its value at the end: ``-n, --workers N``, as Python 3.13 does."""
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        values = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {values}"
