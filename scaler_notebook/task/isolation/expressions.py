"""Expressions that give the values of settings: all of a process are evaluated by one function, made for them.

A function for each setting takes several times as long, because a brief task finds none of them in the processor's
caches.
"""

from collections.abc import Callable, Iterable
from typing import Any


class Expression:
    """A Python expression, and the objects that it names. Called without arguments, it returns its value.

    Parameters
    ----------
    text
        The expression, with the names of objects in braces, e.g. ``{sys}.path``.
    objects
        These objects.
    """

    __slots__ = ("_evaluate", "names", "text")

    def __init__(self, text: str, **objects: Any) -> None:
        named = {name: f"object_{id(each)}" for name, each in objects.items()}  # one in all expressions
        self.text = text.format(**named)
        self.names = {named[name]: each for name, each in objects.items()}
        self._evaluate: Callable[[], Any] | None = None

    def __call__(self) -> Any:
        """Return the value."""
        if self._evaluate is None:
            self._evaluate = eval(f"lambda: {self.text}", self.names)
        return self._evaluate()


def compiled(expressions: Iterable[Expression | Callable[[], Any]]) -> Callable[[], list[Any]]:
    """Return a function that returns the values of all expressions; what is no expression is called."""
    texts: list[str] = []
    names: dict[str, Any] = {}
    for each in expressions:
        expression = each if isinstance(each, Expression) else Expression("{read}()", read=each)
        texts.append(expression.text)
        names.update(expression.names)
    read: Callable[[], list[Any]] = eval(f"lambda: [{', '.join(texts)}]", names)
    return read
