"""The notebook's settings on their way to its tasks: warnings filters, levels and limits, options of libraries.

They are one pickle of plain values by name, so that nothing is imported where it is read. What needs a module to be
loaded is a pickle within that, and filters name the classes that they are for.
"""

import pickle
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

from .pickling import pickler

ENVIRONMENT, PATH = "environment", "path"
FILTERS, RECURSION, LOG_LEVEL = "warnings filters", "recursion limit", "log level"
NUMPY_ERRORS, PANDAS_OPTIONS, MATPLOTLIB_PARAMETERS = "numpy errors", "pandas options", "matplotlib parameters"

# What of matplotlib's parameters is about where figures are shown, and that is another place for a task.
DISPLAY_PARAMETERS = ("backend", "backend_fallback", "interactive", "toolbar", "webagg.")

Pattern: TypeAlias = str | tuple[str, int] | None


class Filter(NamedTuple):
    """One of ``warnings.filters``; ``category`` is the module and the name of a class."""

    action: str
    message: Pattern
    category: tuple[str, str]
    module: Pattern
    line: int


def encode_filters(filters: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Those of ``warnings.filters`` whose class can be found by its name."""
    found = []
    for action, message, category, module, line in filters:
        name = category.__module__, category.__qualname__
        if _class(*name) is category and category.__module__ != "__main__":
            found.append(tuple(Filter(action, _encoded(message), name, _encoded(module), line)))
    return found


def decode_filters(encoded: Iterable[tuple[Any, ...]]) -> tuple[list[Any], set[str]]:
    """``warnings.filters``, and the names of the modules that must be imported before the others can be made."""
    filters, missing = [], set()
    for action, message, category, module, line in encoded:
        found = _class(*category)
        if found is not None:
            filters.append((action, _decoded(message), found, _decoded(module), line))
        elif category[0] not in sys.modules:
            missing.add(category[0])
    return filters, missing


def _class(module: str, name: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _encoded(pattern: Any) -> Pattern:
    return (pattern.pattern, pattern.flags) if isinstance(pattern, re.Pattern) else pattern


def _decoded(pattern: Pattern) -> Any:
    return re.compile(*pattern) if isinstance(pattern, tuple) else pattern


def encode(plain: Mapping[str, Any], of_modules: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Settings by name: of plain values, and of values of any kind, by names of theirs; what cannot be is left out."""
    return pickle.dumps({**plain, **{name: _pickled(values) for name, values in of_modules.items()}}, 4)


def _pickled(values: Mapping[str, Any]) -> bytes:
    with suppress(Exception):
        return pickler.dumps(dict(values))
    kept = {}
    for name, value in values.items():
        with suppress(Exception):
            pickler.dumps(value)
            kept[name] = value
    return pickler.dumps(kept)


def decode(encoded: bytes) -> dict[str, Any]:
    """What :func:`encode` has made; values of modules are still pickled."""
    with suppress(Exception):  # another version's
        return dict(pickle.loads(encoded))
    return {}
