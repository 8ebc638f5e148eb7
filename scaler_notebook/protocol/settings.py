"""The notebook's settings on the way to its tasks: warnings filters, levels and limits, options of libraries.

Settings travel as one pickle of plain values by name, so that nothing is imported where they are read. A value that
needs a module is a pickle within that pickle, and filters refer to their warning classes by name.
"""

import pickle
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

from .pickling import pickler

ENVIRONMENT, PATH = "environment", "path"
MODULE_VALUES = "values of modules"
FILTERS, RECURSION, LOG_LEVEL, UMASK = "warnings filters", "recursion limit", "log level", "umask"
NUMPY_ERRORS, PANDAS_OPTIONS, MATPLOTLIB_PARAMETERS = "numpy errors", "pandas options", "matplotlib parameters"

# Parameters of matplotlib about where figures are shown, which differs between a notebook and a task.
DISPLAY_PARAMETERS = ("backend", "backend_fallback", "interactive", "toolbar", "webagg.")

Pattern: TypeAlias = str | tuple[str, int] | None


class Filter(NamedTuple):
    """One entry of ``warnings.filters``, with the warning class as the names of module and class."""

    action: str
    message: Pattern
    category: tuple[str, str]
    module: Pattern
    line: int


def encode_filters(filters: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Encode the entries of ``warnings.filters`` whose class can be found by name."""
    found = []
    for action, message, category, module, line in filters:
        name = category.__module__, category.__qualname__
        if _class(*name) is category and category.__module__ != "__main__":
            found.append(tuple(Filter(action, _encoded(message), name, _encoded(module), line)))
    return found


def decode_filters(encoded: Iterable[tuple[Any, ...]]) -> tuple[list[Any], set[str]]:
    """Decode entries of ``warnings.filters``.

    Returns
    -------
    tuple
        The entries, and the names of modules that have to be imported before the remaining entries can be decoded.
    """
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
    """Encode settings. Values that cannot be pickled are omitted.

    Parameters
    ----------
    plain
        Plain values, by the name of the setting.
    of_modules
        Mappings of values of any type, by the name of the setting.
    """
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
    """Decode what :func:`encode` has made. The mappings of ``of_modules`` are still pickled."""
    with suppress(Exception):  # made by another version
        return dict(pickle.loads(encoded))
    return {}
