"""The table of the contract in the docs names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
CONTRACT = TESTS.parent / "docs" / "cancel.md"


def test_every_sentence_of_the_contract_is_held_by_tests_that_exist() -> None:
    existing = {
        node.name
        for file in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    rows = [line.strip("| ").split(" | ") for line in CONTRACT.read_text().splitlines() if "`test_" in line]
    assert len(rows) > 30
    for sentence, tests in rows:
        named = re.findall(r"`([Tt]est\w+)`", tests)
        assert named, sentence
        assert set(named) <= existing, f"{sentence}: {set(named) - existing}"
