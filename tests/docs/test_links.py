"""Every link of every page leads somewhere: to a page, a heading, a file or a folder of this project."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from documented_blocks import ROOT, pages

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")
ELSEWHERE = ("https://", "http://", "mailto:")


def prose(text: str) -> str:
    """A page without its blocks and pieces of code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in links, as GitHub and MyST have it."""
    blocks = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", blocks.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def problems(page: Path, root: Path = ROOT) -> Iterator[str]:
    """The links of a page that lead nowhere, or out of the project at ``root``."""
    for target in (first or second for first, second in LINK.findall(prose(page.read_text(encoding="utf-8")))):
        if target.startswith(ELSEWHERE):
            continue
        path, _, anchor = target.partition("#")
        place = page.parent / path if path else page
        if not place.exists() or root not in (place.resolve(), *place.resolve().parents):
            yield f"{target}: nothing is there"
        elif anchor and (place.suffix != ".md" or anchor not in anchors(place.read_text(encoding="utf-8"))):
            yield f"{target}: no such heading"


@pytest.mark.parametrize("page", [*pages(), "CHANGELOG.md"])
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    assert not list(problems(ROOT / page))


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = ROOT / "docs" / "states.md"
    assert "the-three-state-machines" in anchors(page.read_text(encoding="utf-8"))
    bad = tmp_path / "bad.md"
    bad.write_text("# A `b`, c\n[x](nowhere.md) [y](#a-b-c) [z](#d) `[no](link)` [v](../) [w](https://example.org)\n")
    assert [problem.partition(":")[0] for problem in problems(bad, tmp_path)] == ["nowhere.md", "#d", "../"]
