"""The reference has every public name once, and every state and reason."""

import re
from collections import Counter
from enum import Enum
from pathlib import Path

import pytest

import scaler_notebook
from scaler_notebook import testing

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
