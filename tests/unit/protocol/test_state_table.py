"""The form of a state machine: a table that is not whole is no table."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import pytest

from scaler_notebook.protocol.state_table import TransitionTable


class Light(Enum):
    RED = "red"
    GREEN = "green"


class Happens(Enum):
    TURN = "turn"
    PASS = "pass"


class Does(Enum):
    to: tuple[Light, ...]

    def __new__(cls, text: str, *to: Light) -> Does:
        action = object.__new__(cls)
        action._value_, action.to = text, to
        return action

    GO = "let go", Light.GREEN
    STOP = "stop", Light.RED
    IGNORE = "ignore"
    NOT_PERMITTED = "not permitted"


ROWS: dict[Happens, Sequence[Does]] = {
    Happens.TURN: (Does.GO, Does.STOP),
    Happens.PASS: (Does.NOT_PERMITTED, Does.IGNORE),
}


def test_a_table_says_what_each_event_does_in_each_state() -> None:
    table = TransitionTable(tuple(Light), ROWS)
    assert table[Light.RED, Happens.TURN] is Does.GO
    assert list(table) == [(light, event) for event in Happens for light in Light]
    assert table.markdown().splitlines() == [
        "|  | RED | GREEN |",
        "| --- | --- | --- |",
        "| turn | let go → **GREEN** | stop → **RED** |",
        "| pass | *not permitted* | – |",
    ]
    assert "    RED --> GREEN : turn" in table.diagram(Light.RED).splitlines()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({**ROWS, Happens.PASS: (Does.NOT_PERMITTED,)}, "pass: 1 actions for 2 states"),
        ({**ROWS, Happens.PASS: (Does.NOT_PERMITTED,) * 3}, "pass: 3 actions for 2 states"),
        ({**ROWS, Happens.PASS: (Does.NOT_PERMITTED,) * 2}, "no event leads to IGNORE"),
    ],
)
def test_a_table_that_is_not_whole_is_refused(rows: dict[Happens, Sequence[Does]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TransitionTable(tuple(Light), rows)
