"""Expressions as tasks: a call whose parts are evaluated in the notebook, or an expression that runs in the task."""

import ast
import itertools
import keyword
import linecache
import re
import symtable
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from IPython.core.error import UsageError

_numbers = itertools.count(1)
CAPTURE = "__scaler_notebook_call__"
NAME_THEN_MORE = re.compile(r"([A-Za-z_][\w.]*)\s+(?!(?:if|for|and|or|is|in|not)\b)(?=[\w\[({'\"])")


class ParsedCall(NamedTuple):
    """A call that is ready to be submitted."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def parse_call(expression: str, namespace: dict[str, Any]) -> ParsedCall:
    """Turn an expression into a call.

    Of an expression that is a call, function and arguments are evaluated here. Any other expression becomes a function
    without arguments that evaluates it.

    Parameters
    ----------
    expression
        The text of the expression.
    namespace
        The notebook's namespace.

    Raises
    ------
    SyntaxError
        The text is no expression.
    NameError
        The expression names something that does not exist: that is better known now than on the worker.
    Exception
        An argument raises an exception.
    """
    __tracebackhide__ = True
    body = _parse(expression).body
    missing = [name for name in _globals(expression) if name not in namespace and name not in _builtins(namespace)]
    if missing:
        raise NameError(f"name {missing[0]!r} is not defined; nothing was submitted", name=missing[0])
    if isinstance(body, ast.Call):
        return _evaluate([body.func, *body.args], body.keywords, namespace, expression)
    function = eval(compile(f"lambda: (\n{expression}\n)", _register_source("\n" + expression), "eval"), namespace)
    return ParsedCall(function, (), {})


def parse_map(text: str, namespace: dict[str, Any]) -> ParsedCall:
    """Evaluate the function and the iterables of ``%scaler map``; the iterables are the call's ``args``.

    Parameters
    ----------
    text
        The arguments as in a call, or a name and then the iterables.
    namespace
        The notebook's namespace.

    Raises
    ------
    UsageError
        The function or an iterable is missing.
    SyntaxError
        The text does not read like the arguments of a call.
    """
    __tracebackhide__ = True
    spaced = NAME_THEN_MORE.match(text)
    if spaced and not keyword.iskeyword(spaced[1]):
        text = f"{spaced[1]}, {text[spaced.end() :]}"
    body = _parse(f"{CAPTURE}({text})").body
    if not isinstance(body, ast.Call) or body.keywords or len(body.args) < 2:
        raise UsageError(
            "%scaler map takes a function and at least one iterable: %scaler map fit, alphas. "
            "For fixed arguments: %scaler map partial(fit, X), alphas"
        )
    return _evaluate(body.args, [], namespace, f"{CAPTURE}({text})")


def _evaluate(parts: list[ast.expr], keywords: list[ast.keyword], namespace: dict[str, Any], source: str) -> ParsedCall:
    """Evaluate a function and its arguments as Python does in a call, with ``*`` and ``**``.

    Parameters
    ----------
    parts
        The function and the positional arguments.
    keywords
        The keyword arguments.
    namespace
        The notebook's namespace.
    source
        The text that tracebacks show.
    """
    __tracebackhide__ = True
    ours = ast.Call(ast.Name(CAPTURE, ast.Load()), parts, keywords)
    code = compile(ast.fix_missing_locations(ast.Expression(ours)), _register_source(source), "eval")
    return eval(code, namespace, {CAPTURE: lambda function, /, *args, **kwargs: ParsedCall(function, args, kwargs)})  # type: ignore[no-any-return]


def _register_source(source: str) -> str:
    """Register a source text; returns the file name under which tracebacks find it."""
    name = f"<%scaler {next(_numbers)}>"
    linecache.cache[name] = len(source), None, source.replace(f"{CAPTURE}(", " " * 8).splitlines(keepends=True), name
    return name


def _parse(expression: str) -> ast.Expression:
    """Parse an expression; the error for a statement says so."""
    __tracebackhide__ = True
    try:
        return ast.parse(expression, mode="eval")
    except SyntaxError as error:
        if _is_statement(expression):
            error.msg = (
                f"{error.msg}: a statement, where an expression is wanted (fut = %scaler submit fit(X); %%scaler)"
            )
        raise


def _is_statement(text: str) -> bool:
    """Return whether a text is valid Python."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _globals(expression: str) -> Iterator[str]:
    """Yield the global names that an expression reads."""
    tables = [symtable.symtable(f"lambda: (\n{expression}\n)", "<expression>", "eval")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        yield from (s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced())


def _builtins(namespace: dict[str, Any]) -> dict[str, Any]:
    """Return the builtins that code in a namespace sees."""
    found = namespace.get("__builtins__", __builtins__)
    names: dict[str, Any] = found if isinstance(found, dict) else vars(found)
    return names
