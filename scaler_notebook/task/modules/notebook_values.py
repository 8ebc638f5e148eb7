"""The plain values that the notebook has changed in its modules, in a process that imports these from their files."""

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

_ABSENT = object()


class NotebookValues:
    """Values of modules as the current client's notebook has them."""

    def __init__(self) -> None:
        self._wanted: Mapping[str, Mapping[str, Any]] = {}  # by module, by name
        self._client = ""
        self._initialized: dict[str, set[tuple[str, str]]] = {}  # what initializers set, by client: modules and names
        self._replaced: dict[tuple[int, str], tuple[ModuleType, Any]] = {}  # with what the module's import has made

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def adopt(self, client: str, wanted: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over a client's values, and restore those of the client before.

        Parameters
        ----------
        client
            The client; empty for one without an initializer.
        wanted
            The values by name, by module.
        """
        self._client, self._wanted = client, wanted
        initialized = self._initialized.get(client, ())
        for (number, name), (module, before) in [*self._replaced.items()]:
            if name not in wanted.get(module.__name__, ()) or (module.__name__, name) in initialized:
                del self._replaced[number, name]
                if before is _ABSENT:
                    vars(module).pop(name, None)
                else:
                    vars(module)[name] = before
        self.apply()

    def yield_to_initializer(self) -> None:
        """Leave what the client's initializer has set just now: that wins over the notebook's own values."""
        found = self._initialized.setdefault(self._client, set())
        for name, values in self._wanted.items():
            if isinstance(module := sys.modules.get(name), ModuleType):
                names = vars(module)
                found.update(
                    (name, each) for each, value in values.items() if not _same(names.get(each, _ABSENT), value)
                )

    def apply(self) -> None:
        """Give the values to those of the modules that are imported."""
        for name, values in self._wanted.items():
            module = sys.modules.get(name)
            if isinstance(module, ModuleType) and not _is_initializing(module):
                self._give(module, values)

    def _give(self, module: ModuleType, values: Mapping[str, Any]) -> None:
        """Give values to a module.

        Parameters
        ----------
        module
            The module.
        values
            The values by name.
        """
        names = vars(module)
        left = self._initialized.get(self._client, ())
        for name, value in values.items():
            if (module.__name__, name) in left:
                continue
            now = names.get(name, _ABSENT)
            if not _same(now, value):
                self._replaced.setdefault((id(module), name), (module, now))
                names[name] = type(value)(value) if isinstance(value, list | dict | set) else value


def _is_initializing(module: ModuleType) -> bool:
    """Return whether another thread executes the module just now: names that are missing may still come."""
    return bool(getattr(vars(module).get("__spec__"), "_initializing", False))


def _same(now: Any, value: Any) -> bool:
    """Return whether a plain value is there already; what cannot be compared is of another type."""
    return type(now) is type(value) and bool(now == value)
