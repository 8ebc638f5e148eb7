"""The blocks of code in the pages of this project, and what their comments say of values."""

from __future__ import annotations

import ast
import io
import os
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).parents[3]
FENCE = re.compile(r"(?P<indent> *)```(?P<language>\w*|\{[\w-]+\}.*?) *$")  # in braces: a directive of the site's
MADE = {"node_modules", "build", "dist", "output"}  # folders of what is made from the sources


@dataclass(frozen=True)
class Block:
    """A fenced block, or an indented one, whose language is then ``indented``."""

    page: str
    line: int  # of its first line of text
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0]


@dataclass(frozen=True)
class Claim:
    """A comment behind a statement, which may begin with a value, as in ``fut.cancel()  # True once …``."""

    line: int  # of the page
    name: str | None  # what the statement binds; None: it is the last of its cell, which is displayed
    comment: str

    @property
    def value(self) -> Any:
        """What the comment begins with, where that is a literal; an ellipsis in it stands for anything.

        Raises
        ------
        ValueError
            It begins with none.
        """
        text = self.comment.replace("…", "...")
        for end in range(len(text), 0, -1):
            try:
                return ast.literal_eval(text[:end])
            except (SyntaxError, ValueError):
                continue
        raise ValueError(f"no value: {self.comment}")


def pages() -> list[str]:
    """Every page of the tree but the change log, which tells of former versions."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in MADE]
        found += [os.path.relpath(os.path.join(folder, name), ROOT) for name in files if name.endswith(".md")]
    return sorted(set(found) - {"CHANGELOG.md"})


def blocks(page: str) -> Iterator[Block]:
    """In their order. A block that nobody closes is an error."""
    lines = enumerate((ROOT / page).read_text().splitlines(), 1)
    before, begun, inside = "", None, list[str]()
    for number, line in lines:
        if (fence := FENCE.match(line)) is not None:
            text = []
            while (following := next(lines)[1]).strip() != "```":
                text.append(following.removeprefix(fence["indent"]))
            if not fence["language"].startswith("{"):
                yield Block(page, number + 1, fence["language"], "\n".join(text))
        elif line.startswith("    ") and (begun is not None or not before):
            begun = begun or number
            inside.append(line.removeprefix("    "))
        elif begun is not None:
            yield Block(page, begun, "indented", "\n".join(inside))
            begun, inside = None, []
        before = line.strip()
    assert begun is None, f"{page} ends in an indented block"


def claims(block: Block) -> Iterator[Claim]:
    """What comments of a cell say of what it binds or displays; a cell for a cell magic is that magic's."""
    code = TransformerManager().transform_cell(block.text)
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    body = ast.parse(code).body
    for statement in body:
        comment = comments.get(statement.end_lineno or 0)
        if comment is None:
            continue
        line = block.line + statement.lineno - 1
        match statement:
            case ast.Assign([ast.Name(name)]):
                yield Claim(line, name, comment)
            case ast.Expr() if statement is body[-1]:
                yield Claim(line, None, comment)


def agrees(claimed: Any, found: Any) -> bool:
    """Whether a value is what was said."""
    if claimed is ...:
        return True
    if isinstance(claimed, dict) and isinstance(found, dict):
        return claimed.keys() == found.keys() and all(agrees(value, found[key]) for key, value in claimed.items())
    return type(claimed) is type(found) and bool(claimed == found)
