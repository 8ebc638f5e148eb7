"""Where the comment of a magic's line begins: after words as in a shell, after an expression as in Python."""

from __future__ import annotations

import ast
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.error import UsageError

from scaler_notebook.notebook.magics.commands.cell import parser as parser_of_cells
from scaler_notebook.notebook.magics.commands.comments import strip_expression_comment, strip_word_comment
from scaler_notebook.notebook.magics.commands.table import COMMANDS

COMMENTS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs", "Cc"])).map("#{}".format)
QUOTED = st.text(st.sampled_from("a# '\"\\"), min_size=1).map(shlex.quote)
BARE = st.text(st.sampled_from("a#=-*"), min_size=1).filter(lambda word: not word.startswith("#"))


@given(st.lists(QUOTED | BARE), COMMENTS)
def test_words_end_where_a_word_would_begin_with_a_number_sign(words: list[str], comment: str) -> None:
    """Split by a parser that knows of no comments, it is what was there without one."""
    line = " ".join(words)
    assert strip_word_comment(line) == line
    assert shlex.split(strip_word_comment(f"{line} {comment}")) == shlex.split(line)


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("# just a comment", ""),
        ("fit   # it's not needed", "fit   "),
        ("fit\t# after a tab", "fit\t"),
        ("fit# one word", "fit# one word"),
        ("ipc:///tmp/a#b", "ipc:///tmp/a#b"),
        ("grace=#3 # no number", "grace=#3 "),
        ("--name '# 3' # named", "--name '# 3' "),
        ('--name "a \\" # b"', '--name "a \\" # b"'),
        ("\\# escaped", "\\# escaped"),
        ("a\\ # b", "a\\ # b"),
        ("'never closed # so this is in it", "'never closed # so this is in it"),
        ("ends with \\", "ends with \\"),
    ],
)
def test_words(line: str, kept: str) -> None:
    assert strip_word_comment(line) == kept


STRINGS = [
    "'# a'",
    '"# b"',
    "'''# c'''",
    '"""d "# d"""',
    r"'\'# e'",
    "f'{x}# f'",
    "f'{x:#x}'",
    "f'''{d['#']}'''",
    "rb'#'",
]
EXPRESSIONS = st.recursive(
    st.sampled_from([*STRINGS, "x", "1"]),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: f"f({', '.join(parts)})") | inner.map("[{}]".format),
    max_leaves=8,
)


@given(EXPRESSIONS, st.sampled_from(["", " ", "   ", "\t"]), COMMENTS)
def test_an_expression_ends_where_python_sees_a_comment(expression: str, blank: str, comment: str) -> None:
    assert strip_expression_comment(expression) == expression
    assert strip_expression_comment(f"{expression}{blank}{comment}") == expression
    ast.parse(expression, mode="eval")  # what was generated is Python


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("# nothing but a comment", ""),
        ("--help  # please", "--help"),
        ("fit, alphas, betas  # three", "fit, alphas, betas"),
        ("fit range(10)# a name, and then the iterable", "fit range(10)"),
        ("f(1,  # one\n  2)  # two", "f(1,  # one\n  2)"),
        ("f(1,  # one\n  2)", "f(1,  # one\n  2)"),
        ("f(  # never closed", "f("),
    ],
)
def test_expressions(text: str, kept: str) -> None:
    assert strip_expression_comment(text) == kept


@pytest.mark.parametrize("text", ["f('a # b)", 'f("""a # b', "f'a # b"])
def test_in_a_string_that_nobody_closes_there_is_no_comment(text: str) -> None:
    assert strip_expression_comment(text) == text


@pytest.mark.parametrize(
    ("name", "line", "option", "value"),
    [
        ("cancel", "fit other # why", "TASK", ["fit", "other"]),
        ("cancel", "--all # of them", "all", True),
        ("cancel", " # nothing is named", "TASK", []),
        ("config", "grace=2 workers=#3 # soon", "SETTING", ["grace=2", "workers=#3"]),
        ("connect", "tcp://127.0.0.1:8800 # theirs", "ADDRESS", "tcp://127.0.0.1:8800"),
        ("start", "-n 4 # workers", "workers", 4),
        ("history", "# all of it", "n", 50),
    ],
)
def test_options_of_a_command_before_a_comment(name: str, line: str, option: str, value: object) -> None:
    assert getattr(COMMANDS[name].parser.parse(line), option) == value


@pytest.mark.parametrize(
    ("line", "option", "value"),
    [
        ("--out model       # a cell that runs as one task", "out", ("model",)),
        ("--out a,b# no comment, and no name", "out", None),
        ("--name 'try # 3' --wait # until then", "name", "try # 3"),
        ("# just a comment", "wait", False),
        ("#", "wait", False),
    ],
)
def test_options_of_a_cell_before_a_comment(line: str, option: str, value: object) -> None:
    if value is None:
        with pytest.raises(UsageError, match="is no name"):
            parser_of_cells().parse(line)
    else:
        assert getattr(parser_of_cells().parse(line), option) == value


def test_a_quote_that_is_not_closed_is_said_and_one_in_a_comment_is_not_looked_at() -> None:
    with pytest.raises(UsageError, match="no closing quotation"):
        COMMANDS["cancel"].parser.parse("'fit # why")
    assert COMMANDS["cancel"].parser.parse("fit # it isn't needed").TASK == ["fit"]
