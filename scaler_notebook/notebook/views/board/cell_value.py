"""The values that a cell is going to display, as far as the cell's text tells."""

import ast
import re
from collections.abc import Iterator, Sequence

_MAP_MAGIC = re.compile(r"\s*map\b")


def is_group(code: str) -> bool:
    """Return whether a cell displays the group of its only call of ``map_async``: as its value, or by ``display``.

    Parameters
    ----------
    code
        The text of the cell as Python, without magics.
    """
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return False
    calls = [node for node in ast.walk(tree) if _is_map(node)]
    if len(calls) != 1:
        return False
    statements = list(_in_order(tree.body))
    last = None if code.rstrip().endswith(";") else tree.body[-1]
    for number, statement in enumerate(statements):
        shown = _displayed(statement)
        if shown is None and statement is last and isinstance(statement, ast.Expr):
            shown = statement.value
        if shown is not None and _meaning(shown, statements[:number]) is calls[0]:
            return True
    return False


def _is_map(node: ast.AST) -> bool:
    """Return whether this is a call of ``map_async``, or ``%scaler map`` as IPython writes it in Python."""
    match node:
        case ast.Call(func=ast.Attribute(attr="map_async")):
            return True
        case ast.Call(
            func=ast.Attribute(attr="run_line_magic"),
            args=[ast.Constant(value="scaler"), ast.Constant(value=str(text))],
        ):
            return _MAP_MAGIC.match(text) is not None
    return False


def _in_order(statements: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run one after the other, those in a ``with`` block included."""
    for statement in statements:
        yield statement
        if isinstance(statement, ast.With | ast.AsyncWith):
            yield from _in_order(statement.body)


def _displayed(statement: ast.stmt) -> ast.expr | None:
    """Return what a statement displays by ``display(…)``; None if it is another statement."""
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Name(id="display"), args=[shown], keywords=[])):
            return shown
    return None


def _meaning(value: ast.expr, before: Sequence[ast.stmt]) -> ast.expr | None:
    """Return what a value is: of a name, what was assigned to it last; None if that cannot be told.

    Parameters
    ----------
    value
        The value.
    before
        The statements that ran before.
    """
    if isinstance(value, ast.NamedExpr):
        return value.value
    if not isinstance(value, ast.Name):
        return value
    for statement in reversed(before):
        match statement:
            case ast.Assign(targets=targets, value=given) if any(_is_name(target, value.id) for target in targets):
                return given
            case ast.AnnAssign(target=target, value=ast.expr() as given) if _is_name(target, value.id):
                return given
            case ast.Expr(value=ast.NamedExpr(target=target, value=given)) if _is_name(target, value.id):
                return given
        if value.id in _bound(statement):
            return None
    return None


def _bound(statement: ast.stmt) -> set[str]:
    """Return the names that a statement gives another value, or none."""
    names = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return {name.id for name in names if not isinstance(name.ctx, ast.Load)}


def _is_name(node: ast.AST, name: str) -> bool:
    """Return whether a node is this name.

    Parameters
    ----------
    node
        The node.
    name
        The name.
    """
    return isinstance(node, ast.Name) and node.id == name
