"""The reference has every public name once, every state and reason, and the options of the command line."""

import argparse
import re
from collections import Counter
from enum import Enum
from pathlib import Path

import pytest

import scaler_notebook
from scaler_notebook import testing
from scaler_notebook.cli.command import parser
from scaler_notebook.client import names

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def described(page: Path) -> list[str]:
    """The names whose docstrings a page shows."""
    return re.findall(r"^\.\. auto\w+:: (\w+)(?:\(\))?$", page.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("module", [scaler_notebook, testing], ids=["scaler_notebook", "testing"])
def test_every_public_name_is_described_once(module: object) -> None:
    own = {REFERENCE / "testing.md"}
    pages = own if module is testing else set(REFERENCE.glob("*.md")) - own
    found = Counter(name for page in pages for name in described(page))
    assert found == Counter(module.__all__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [scaler_notebook.TaskState, scaler_notebook.CancelReason])
def test_every_state_and_reason_is_in_its_table(kind: type[Enum]) -> None:
    table = (
        (REFERENCE / "futures.md")
        .read_text(encoding="utf-8")
        .partition(f"| `{kind.__name__}` |")[2]
        .partition("\n\n")[0]
    )
    assert re.findall(r"`([A-Z_]+)`", table) == [member.name for member in kind]


def test_what_those_who_come_from_elsewhere_are_told_to_call_exists() -> None:
    page = (REFERENCE.parent / "coming-from.md").read_text(encoding="utf-8")
    here = " ".join(row.rpartition(" | ")[2] for row in re.findall(r"^\| .* \|$", page, re.MULTILINE))
    owners = {"ex": scaler_notebook.NotebookExecutor, "fut": scaler_notebook.ScalerFuture("1"), "": scaler_notebook}
    named = re.findall(r"\b(ex|fut)\.(\w+)", here) + [
        ("", name) for name in re.findall(r"scaler_notebook\.(\w+)", here)
    ]
    assert len(named) > 30
    assert [each for each in named if not hasattr(owners[each[0]], each[1])] == []


def test_what_those_who_come_from_elsewhere_call_has_its_counterpart_in_an_attribute_error() -> None:
    page = (REFERENCE.parent / "coming-from.md").read_text(encoding="utf-8")
    there = " ".join(re.findall(r"^\| (.*?) \| ", page, re.MULTILINE))
    executor = set(dir(scaler_notebook.NotebookExecutor)) | set(names.OF_EXECUTORS)
    future = set(dir(scaler_notebook.ScalerFuture)) | set(names.OF_FUTURES)
    known = dict.fromkeys(("pool", "client", "cluster", "view"), executor)
    known |= dict.fromkeys(("result", "ar", "fut"), future)
    named = [each for each in re.findall(r"\b(\w+)\.(\w+)", there) if each[0] in known]
    assert len(named) > 20
    assert [each for each in named if each[1] not in known[each[0]]] == []


def test_dir_of_a_future_lists_what_its_page_describes() -> None:
    page = (REFERENCE / "futures.md").read_text(encoding="utf-8")
    members = re.search(r":: ScalerFuture\(\)\n   :members: ([\w,\s]+?)\n\n?```", page)
    assert members is not None
    read = page.partition("to be read and not to be set")[2].partition("## States")[0]
    cells = re.findall(r"^\| (`.*`) \|", read, re.MULTILINE)
    described = {*re.findall(r"\w+", members[1]), *re.findall(r"`(\w+)`", "".join(cells))}
    future: scaler_notebook.ScalerFuture[object] = scaler_notebook.ScalerFuture("1")
    assert {name for name in dir(future) if not name.startswith("_")} == described
    assert all(hasattr(future, name) for name in described)


def test_the_command_line_has_the_options_that_the_page_says() -> None:
    page = (REFERENCE / "command-line.md").read_text(encoding="utf-8")
    (commands,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    shown = [
        option
        for command in commands.choices.values()
        for action in command._actions
        if action.help is not argparse.SUPPRESS and action.dest != "help"
        for option in action.option_strings
    ]
    assert set(re.findall(r"(?<=`)--?[a-z][a-z-]*", page)) - {"--help"} == set(shown)
    assert set(re.findall(r"^\| `([a-z]+)` \|", page, re.MULTILINE)) == set(commands.choices)
