"""Docstrings of the package: every public name has one, in the form and the words that the rest relies on."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "scaler_notebook"
FILES = sorted(PACKAGE.rglob("*.py"))
NO_SUBJECT = re.compile(r"(It|Its|Of|Those|What|The same)\b|[a-z]")  # a first line that names nothing
SECTION = re.compile(r"^Parameters\n-{10}\n(.*?)(?=\n\n\w[^\n]*\n-{3,}|\Z)", re.MULTILINE | re.DOTALL)

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def public(node: Documented, name: str) -> Iterator[tuple[str, Documented]]:
    """Yield a node and the public classes, functions and methods within it, with dotted names."""
    yield name, node
    for child in [] if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            yield from public(child, f"{name}.{child.name}")


def parameters(node: Documented) -> set[str]:
    """Return the names that a section "Parameters" may describe: for a class, those of ``__init__`` or its fields."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        given = node.args
        every = (*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg)))
        return {each.arg for each in every}
    names = {
        each.target.id for each in node.body if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            names |= parameters(each)
    return names - {"self"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_public_names_are_documented(file: Path) -> None:
    for name, node in public(ast.parse(file.read_text(encoding="utf-8")), file.stem):
        text = ast.get_docstring(node)
        assert text, f"{name} has no docstring"
        first = text.partition("\n")[0]
        assert first.endswith("."), f"{name}: {first!r} is no sentence"
        assert not NO_SUBJECT.match(first), f"{name}: {first!r} names nothing"
        section = SECTION.search(text)
        if section is not None:
            lines = [line.partition(" : ")[0] for line in section[1].split("\n") if line and not line.startswith(" ")]
            found = {each.strip().lstrip("*") for line in lines for each in line.split(",")}
            assert found <= parameters(node), f"{name} has no such parameters: {found - parameters(node)}"
