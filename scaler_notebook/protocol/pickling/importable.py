"""Names by which an object is found in a module, here or in a task process."""

import sys
import types
from typing import Any

import cloudpickle


def importable(obj: Any, name: str | None) -> bool:
    """Return whether an object is found by name in a module that is not the notebook and does not travel by value.

    Parameters
    ----------
    obj
        The object; its ``__module__`` names the module.
    name
        The qualified name; None is never found.
    """
    module = getattr(obj, "__module__", None)
    if not isinstance(module, str) or module == "__main__" or not isinstance(name, str):
        return False
    found: Any = sys.modules.get(module)
    if found is None or travels_by_value(module):
        return False
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is obj


def travels_by_value(module: str) -> bool:
    """Return whether a module of this name, or a package that it is in, is registered to travel by value."""
    by_value = cloudpickle.list_registry_pickle_by_value()
    return bool(by_value) and any(f"{module}.".startswith(f"{each}.") for each in by_value)


def module_binding(value: Any) -> tuple[str, str] | None:
    """Return the module and name under which a function or class is found in its module; None if it is not."""
    if not issubclass(type(value), types.FunctionType | type):
        return None  # it may compute any attribute, or raise what it likes
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not isinstance(module, str) or not isinstance(name, str) or getattr(value, "__qualname__", None) != name:
        return None
    found = sys.modules.get(module)
    return (module, name) if found is not None and vars(found).get(name) is value else None
