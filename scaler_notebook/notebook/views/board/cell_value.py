"""The value that a cell is going to display, as far as the cell's text tells."""

import ast


def is_group(code: str) -> bool:
    """Return whether the value of a cell is the group of the cell's only call of ``map_async``.

    Parameters
    ----------
    code
        The text of the cell as Python, without magics.
    """
    if code.rstrip().endswith(";"):
        return False
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return False
    calls = [node for node in ast.walk(tree) if _is_map(node)]
    last = tree.body[-1] if tree.body else None
    if len(calls) != 1 or not isinstance(last, ast.Expr):
        return False
    value = _assigned(tree.body, last.value.id) if isinstance(last.value, ast.Name) else last.value
    return value is calls[0]


def _is_map(node: ast.AST) -> bool:
    """Return whether this is a call of ``map_async``."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "map_async"


def _assigned(statements: list[ast.stmt], name: str) -> ast.expr | None:
    """Return what was assigned to a name last, by a statement of the cell itself; None if nothing was.

    Parameters
    ----------
    statements
        The statements of the cell.
    name
        The name.
    """
    for statement in reversed(statements):
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in statement.targets
        ):
            return statement.value
    return None
