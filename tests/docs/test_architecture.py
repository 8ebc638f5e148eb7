"""docs/architecture.md says where every module of the package is, and no folder holds more than a dozen of them."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "scaler_notebook"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FOLDERS = sorted(file.parent for file in PACKAGE.rglob("__init__.py"))


def shown(folder: Path) -> str:
    """A folder as the page names it."""
    return f"{folder.relative_to(PACKAGE)}/" if folder != PACKAGE else "scaler_notebook/"


@pytest.mark.parametrize("folder", FOLDERS, ids=shown)
def test_a_folder_has_a_row_that_names_each_of_its_modules(folder: Path) -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith(f"| `{shown(folder)}` |")]
    assert len(rows) == 1, f"{len(rows)} rows"
    named = set(re.findall(r"`(\w+)`", rows[0]))
    modules = {file.stem for file in folder.glob("*.py") if not file.stem.startswith("__")}
    assert modules <= named, f"not named: {modules - named}"


def test_what_stands_there_as_a_path_exists() -> None:
    for path in re.findall(r"`((?:[a-z_]+/)+[a-z_]*)`", PAGE) + re.findall(r'\["([a-z_/]+/)"\]', PAGE):
        places = [PACKAGE / path, PACKAGE / f"{path}.py", ROOT / path, ROOT / f"{path}.py"]
        assert any(place.exists() for place in places), path


@pytest.mark.parametrize("tree", ["scaler_notebook", "tests", "benchmarks"])
def test_no_folder_holds_more_than_a_dozen_modules_of_one_language(tree: str) -> None:
    modules = (
        file for suffix in ("py", "js") for file in (ROOT / tree).rglob(f"*.{suffix}") if file.stem != "__init__"
    )
    counts = Counter((str(file.parent.relative_to(ROOT)), file.suffix) for file in modules)
    assert {folder: count for folder, count in counts.items() if count > 12} == {}
