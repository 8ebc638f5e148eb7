"""Names and attributes of the notebook that an initializer has bound, for the tasks that follow.

``global MODEL; MODEL = load(path)`` is the commonest initializer of process pools. The functions of each task come with
the notebook's own values of the names that they use; values that the initializer has bound take precedence.
"""

import contextlib
from collections import deque
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from scaler_notebook.protocol.pickling.loading.unpickling_context import UnpicklingContext

CONTAINERS = (dict, list, set, deque)  # count as bound when they are filled in place: ``MODELS["first"] = load(path)``
OTHERS = (FunctionType, ModuleType, type)  # not looked into; changes of classes are recorded separately


class Bindings:
    """The names and attributes that one client's initializer has bound in this process."""

    def __init__(self) -> None:
        self._bound: dict[str, dict[str, Any]] = {}  # by module
        self._attributes: list[tuple[type, str, Any]] = []  # class, name and value

    def __bool__(self) -> bool:
        return bool(self._attributes) or any(self._bound.values())

    @contextlib.contextmanager
    def recording(self, context: UnpicklingContext) -> Iterator[None]:
        """Record, within ``with``, the names bound in a call's namespaces, and the attributes of its classes."""
        before = {
            module: {name: (value, _content(value)) for name, value in names.items()}
            for module, names in context.namespaces().items()
        }
        classes = [(cls, dict(vars(cls))) for cls in context.classes()]
        yield
        for cls, attributes in classes:
            changed = [name for name, value in vars(cls).items() if attributes.get(name, classes) is not value]
            self._attributes += [(cls, name, vars(cls)[name]) for name in changed]
        nothing = object(), None
        for module, names in context.namespaces().items():
            known = before.get(module, {})
            self._bound[module] = {
                name: value
                for name, value in names.items()
                if not name.startswith("__") and _differs(value, *known.get(name, nothing))
            }

    def apply_to(self, context: UnpicklingContext) -> None:
        """Let the functions of a call find the recorded values, whatever the notebook has under the same names."""
        for module, names in self._bound.items():
            context.namespace(module).update(names)
        for cls, name, value in self._attributes:
            type.__setattr__(cls, name, value)


def _content(value: Any) -> list[int] | None:
    """Return the ids of an object's items, for a comparison; None for objects that are not looked into."""
    if not isinstance(value, CONTAINERS):
        value = None if isinstance(value, OTHERS) else getattr(value, "__dict__", None)
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    return [id(part) for part in value] if isinstance(value, CONTAINERS) else None


def _differs(value: Any, former: Any, content: list[int] | None) -> bool:
    return value is not former or _content(value) != content
