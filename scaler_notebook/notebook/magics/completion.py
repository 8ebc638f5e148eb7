"""Tab completion after ``%scaler``: commands, options, ids and names of tasks, settings.

:func:`complete` is one of IPython's custom matchers, which IPython 8 and 9 call alike
(https://ipython.readthedocs.io/en/stable/api/generated/IPython.core.completer.html).
"""

import re
import shlex
from collections.abc import Iterable
from typing import Any

from IPython.core.completer import SimpleCompletion, context_matcher
from IPython.core.getipython import get_ipython

from scaler_notebook.client.session_log import history

from .commands import COMMANDS, comments
from .commands.cell import CELL_OPTIONS
from .commands.engine import SETTING_CHOICES

COMMAND_LINE = re.compile(r"(?:^|[=\s])%scaler\s+(?P<rest>[^\n]*)$")
EXPRESSION_LINE = re.compile(r"(?:^|[=\s])%scaler\s+(?:submit|map)\s+(?:-.*\s)?(?P<text>[^-\s].*)$")
# The word before the cursor: what follows a quote that is not closed, or no blank and no "=".
LAST_WORD = re.compile(r"""^(?:[^"']|"[^"]*"|'[^']*')*?(?P<word>["'][^"']*|[^\s="']*)$""")
CELL_LINE = re.compile(r"^%%scaler\s(?P<rest>[^\n]*)$")


def install(shell: Any) -> None:
    """Offer completions in this shell; idempotent."""
    if complete not in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.append(complete)


def remove(shell: Any) -> None:
    """Offer no more completions in this shell; idempotent."""
    if complete in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.remove(complete)


@context_matcher()  # type: ignore[untyped-decorator]
def complete(context: Any) -> dict[str, Any]:
    """Complete the word before the cursor, by IPython's protocol for matchers.

    Parameters
    ----------
    context
        IPython's ``CompletionContext``.

    Returns
    -------
    dict[str, Any]
        A ``SimpleMatcherResult``: the completions, and whether other matchers may add theirs.
    """
    line = context.text_until_cursor.rpartition("\n")[2]
    if (expression := EXPRESSION_LINE.search(line)) is not None:
        fragment, offered = _match_python(expression["text"])
        return _matcher_result(fragment, offered)
    word = LAST_WORD.match(line)
    fragment = word["word"] if word is not None else ""
    offered = [text for text in dict.fromkeys(_candidates(line, fragment)) if _begins(text, fragment)]
    return _matcher_result(fragment, offered)


def _begins(text: str, fragment: str) -> bool:
    """Return whether a word, in quotes or not, begins with what was typed of it.

    Parameters
    ----------
    text
        The word.
    fragment
        What was typed.
    """
    return text.startswith(fragment) or (text[:1] in "\"'" and text[1:].startswith(fragment))


def _matcher_result(fragment: str, offered: list[str]) -> dict[str, Any]:
    """Build a ``SimpleMatcherResult``.

    Parameters
    ----------
    fragment
        The word before the cursor.
    offered
        The completions, in order.
    """
    return {
        "completions": [SimpleCompletion(text=text, type="magic") for text in offered],
        "matched_fragment": fragment,
        "suppress": bool(offered),
        "ordered": True,
    }


def _match_python(expression: str) -> tuple[str, list[str]]:
    """Match the names that a Python expression may hold; IPython by itself would complete magics here.

    Parameters
    ----------
    expression
        The expression up to the cursor.

    Returns
    -------
    tuple[str, list[str]]
        The name before the cursor, and the completions.
    """
    word = re.search(r"[A-Za-z_][\w.]*$", expression)
    shell = get_ipython()
    if word is None or shell is None or comments.strip_expression_comment(expression) != expression:
        return "", []
    text = word[0]
    completer = shell.Completer
    found = completer.attr_matches(text) if "." in text else completer.global_matches(text)
    base = text.rpartition(".")[0]
    return text, [base + match if match.startswith(".") else match for match in found]


def _candidates(line: str, fragment: str) -> Iterable[str]:
    """Return the words that may stand at the cursor, whether they begin with the fragment or not.

    Parameters
    ----------
    line
        The line up to the cursor.
    fragment
        The word before the cursor.
    """
    cell = CELL_LINE.search(line)
    found = cell or COMMAND_LINE.search(line)
    if found is None or comments.strip_word_comment(found["rest"]) != found["rest"]:
        return ()
    if cell is not None:
        return CELL_OPTIONS if fragment.startswith("-") else ()
    name, space, rest = found["rest"].partition(" ")
    if not space:
        return COMMANDS
    command = COMMANDS.get(name)
    if command is None:
        return ()
    if fragment.startswith("-"):
        return command.parser.options
    match command.argument:
        case "task":
            return _task_words(fragment[:1], unfinished=False)
        case "unfinished task":
            return _task_words(fragment[:1], unfinished=True)
        case "setting":
            setting = re.search(r"(\w+)=[^\s=]*$", rest)
            return (
                SETTING_CHOICES.get(setting[1], ()) if setting is not None else [f"{name}=" for name in SETTING_CHOICES]
            )
    return ()


def _task_words(begin: str, *, unfinished: bool) -> list[str]:
    """Return the names and ids of this session's tasks, the latest first, as they are typed.

    Parameters
    ----------
    begin
        The first character that was typed; if it is a quote, names are in such quotes.
    unfinished
        Return only those of unfinished tasks.
    """
    records = [record for record in reversed(list(history.session)) if not (unfinished and record.is_over)]
    names = (_as_typed(record.name, begin) for record in records)
    return [*filter(None, names), *(record.task_id for record in records)]


def _as_typed(name: str, begin: str) -> str:
    """Return a task's name as a word of a magic's line, in quotes if need be; empty if it cannot be one.

    Parameters
    ----------
    name
        The name.
    begin
        The first character that was typed.
    """
    typed = begin if begin in ("'", '"') else ""
    if not typed and not re.search(r"[\s=\"'#\\]", name):
        return name
    quote = typed or ("'" if "'" not in name else '"')
    if quote not in name and "\\" not in name:
        return f"{quote}{name}{quote}"
    return "" if typed else shlex.quote(name)
