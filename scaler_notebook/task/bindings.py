"""What an initializer leaves for the tasks that follow: names of the notebook's that it has bound.

``global MODEL; MODEL = load(path)`` is the commonest initializer of process pools. The functions of each task come with
the notebook's own values of the names that they use; what the initializer has bound wins over these.
"""

import contextlib
from collections import deque
from collections.abc import Iterator
from typing import Any

from ..protocol.arrival import Arrival

CONTAINERS = (dict, list, set, deque)  # filled in place, they count as bound: ``MODELS["first"] = load(path)``


class Bindings:
    """Of one client, in one process."""

    def __init__(self) -> None:
        self._bound: dict[str, dict[str, Any]] = {}  # by module

    @contextlib.contextmanager
    def noted(self, arrival: Arrival) -> Iterator[None]:
        """A stretch after which the names that it has bound, in what has arrived, are kept."""
        before = {
            module: {name: (value, _content(value)) for name, value in names.items()}
            for module, names in arrival.namespaces().items()
        }
        yield
        nothing = object(), None
        for module, names in arrival.namespaces().items():
            known = before.get(module, {})
            self._bound[module] = {
                name: value
                for name, value in names.items()
                if not name.startswith("__") and _differs(value, *known.get(name, nothing))
            }

    def put_into(self, arrival: Arrival) -> None:
        """Have the functions of a call find these names, whatever the notebook has under them."""
        for module, names in self._bound.items():
            arrival.namespace(module).update(names)


def _content(value: Any) -> list[int] | None:
    if type(value) not in CONTAINERS:
        return None
    parts = [*value.keys(), *value.values()] if type(value) is dict else value
    return [id(part) for part in parts]


def _differs(value: Any, former: Any, content: list[int] | None) -> bool:
    return value is not former or _content(value) != content
