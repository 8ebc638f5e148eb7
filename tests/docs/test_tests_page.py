"""tests/README.md names every file of tests, and no other."""

import re

from documented_blocks import ROOT

PAGE = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(test_\w+|\w+\.test\.js)`", PAGE)


def test_each_file_of_tests_is_named_and_exists() -> None:
    folder = ROOT / "tests"
    existing = {file.stem for file in folder.rglob("test_*.py")} | {file.name for file in folder.rglob("*.test.js")}
    assert existing - {*NAMED} == set(), "not named"
    assert {*NAMED} - existing == set(), "gone"


def test_no_two_files_of_tests_have_one_name() -> None:
    names = [file.stem for file in (ROOT / "tests").rglob("test_*.py")]
    assert len({*names}) == len(names)
