"""The tables of the contract, and of who may do what, name tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TABLES = {TESTS.parent / "docs" / "cancel.md": 30, TESTS.parent / "SECURITY.md": 10}  # with at least so many rows


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.name)
def test_every_sentence_of_the_contract_is_held_by_tests_that_exist(page: Path) -> None:
    existing = {
        node.name
        for file in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    rows = [line.strip("| ").split(" | ") for line in page.read_text().splitlines() if "`test_" in line]
    assert len(rows) > TABLES[page]
    for sentence, tests in rows:
        named = re.findall(r"`([Tt]est\w+)`", tests)
        assert named, sentence
        assert set(named) <= existing, f"{sentence}: {set(named) - existing}"
