"""The plain values in a module of the user's that the notebook has changed since its import: ``config.DEBUG = True``.

A task imports the module from its file, which does not know of them. Plain are numbers, texts, bytes, truth values,
None, and containers of these. Names that begin with an underscore are the module's own business.
"""

import contextlib
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from operator import getitem
from types import ModuleType
from typing import Any

_SCALARS = frozenset({type(None), bool, int, float, complex, str, bytes})
_CONTAINERS: dict[type, Callable[[Any], Any]] = {kind: kind for kind in (list, set, dict, tuple, frozenset)}
MAX_ITEMS = 100  # of a container that counts as plain
_AT_IMPORT = "scaler_notebook_values"  # an attribute of specs: the import system keeps them with their modules
_ABSENT = object()


class ModuleValues:
    """The values of one module that differ from what its import has made.

    Parameters
    ----------
    attributes
        The module's namespace.
    spec
        The module's spec; None for none.
    """

    def __init__(self, attributes: Mapping[str, Any], spec: ModuleSpec | None) -> None:
        self.attributes = attributes
        noted = getattr(spec, _AT_IMPORT, None)
        self._at_import: dict[str, Any] = noted if noted is not None else _plain_values(attributes)

    def compare(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what is to be looked at again, by name, and the plain values that differ from those of the import.

        A name that had a plain value at the import is looked at again whatever it has now.
        """
        now, values = dict(self.attributes), _plain_values(self.attributes)
        changed = {n: value for n, value in values.items() if not _same(value, self._at_import.get(n, _ABSENT))}
        return {name: now[name] for name in self._at_import if name in now} | values, changed


class ChangedValues:
    """The values that differ in any of several modules, asked for at each submit.

    All are read by one call each for the numbers of names and for the values: 300 modules take some 50 microseconds.
    """

    def __init__(self) -> None:
        self.follow({})

    def follow(self, modules: Mapping[str, ModuleValues]) -> None:
        """Look at these modules from now on, by their names."""
        self._modules = modules
        self._compare()

    def get(self) -> dict[str, dict[str, Any]]:
        """Return the values that differ, by module and name; the same object as long as nothing changes."""
        try:
            values = [*map(getitem, self._owners, self._names)]
            if values == self._last and [*map(len, self._namespaces)] == self._counts:
                return self._changed
        except Exception:  # a name was deleted, or now has what cannot be compared, such as an array
            pass
        self._compare()
        return self._changed

    def _compare(self) -> None:
        """Compare all values with those at the imports."""
        self._namespaces = [module.attributes for module in self._modules.values()]
        self._counts = [*map(len, self._namespaces)]
        self._owners: list[Mapping[str, Any]] = []
        self._names: list[str] = []
        self._last: list[Any] = []
        self._changed: dict[str, dict[str, Any]] = {}
        for name, module in self._modules.items():
            values, changed = module.compare()
            self._owners += [module.attributes] * len(values)
            self._names += values
            self._last += values.values()
            if changed:
                self._changed[name] = changed


def note_values_at_import(spec: ModuleSpec) -> None:
    """Have the values of a module noted in its spec when the module has been executed."""
    loader: Any = spec.loader
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        setattr(spec, _AT_IMPORT, _plain_values(vars(module)))

    # The file name is the import system's own, so that this frame too is left out of tracebacks.
    exec_module.__code__ = exec_module.__code__.replace(co_filename="<frozen importlib._bootstrap>")
    with contextlib.suppress(AttributeError):  # a loader without attributes of its own
        loader.exec_module = exec_module


def _plain_values(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return copies of the plain values in a namespace."""
    return {
        name: _CONTAINERS[kind](value) if (kind := type(value)) in _CONTAINERS else value
        for name, value in [*attributes.items()]
        if isinstance(name, str) and not name.startswith("_") and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind not in _CONTAINERS or len(value) > MAX_ITEMS:
        return False
    items = [*value, *value.values()] if kind is dict else value
    return all(type(each) in _SCALARS for each in items)


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and (value == other or value != value)
