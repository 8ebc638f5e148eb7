"""A call whose function is given by a name, as a program outside of any notebook gives it.

The module is imported in the task, from the working directory or wherever ``sys.path`` leads, so that whoever submits
the call runs nothing of it. Between two calls its source may be edited.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from scaler_notebook.protocol.encoding.json_forms import value_form
from scaler_notebook.suggestions import did_you_mean

from .coroutines import completed

Stamp = tuple[int, int]  # of a file: its modification time in nanoseconds, its size in bytes

# What such calls have imported in this process, with the stamps of the files at that time.
_imported: dict[str, tuple[ModuleType, Stamp]] = {}


def call_by_name(
    target: str, arguments: Sequence[Any], keywords: Mapping[str, Any], limit: int | None
) -> dict[str, Any]:
    """Import a function and call it; return its value in the form of :func:`.value_form`.

    Parameters
    ----------
    target
        The function: ``package.module:function``, or ``package.module:Class.method``.
    arguments, keywords
        Its arguments.
    limit
        As for :func:`.value_form`.

    Raises
    ------
    ModuleNotFoundError, AttributeError
        There is no such function.
    BaseException
        What the call raises.
    """
    module_name, _, path = target.partition(":")
    with project_as_it_is():
        found: Any = importlib.import_module(module_name)
        for name in path.split("."):
            if not hasattr(found, name):
                raise AttributeError(f"{target}: there is no {name!r}{did_you_mean(name, dir(found))}")
            found = getattr(found, name)
        return value_form(completed(found(*arguments, **keywords)), limit)


@contextlib.contextmanager
def project_as_it_is(*more: str) -> Iterator[None]:
    """Have the modules under the working directory imported as their files are now, within the ``with`` block.

    If one of those that were imported in earlier blocks has been edited, all of them are forgotten: one that has not
    may hold what it has imported from one that has. What other tasks of the process have imported is left alone.

    Parameters
    ----------
    more
        Other directories whose modules are the project's, too.
    """
    if any(_stamp(module) != stamp for module, stamp in _imported.values()):
        for name, (module, _) in _imported.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        _imported.clear()
    importlib.invalidate_caches()  # a file may be younger than the directory's listing
    before, here = set(sys.modules), tuple(os.path.join(each, "") for each in (os.getcwd(), *more))
    try:
        yield
    finally:
        for name in sys.modules.keys() - before:
            module = sys.modules[name]
            place = _place(module)
            if place.startswith(here) and "site-packages" not in place:
                _imported[name] = module, _stamp(module)


def _place(module: ModuleType) -> str:
    """Return a module's file; of a package without one (PEP 420) the first directory, or nothing."""
    file, path = getattr(module, "__file__", None), getattr(module, "__path__", None)
    return str(file or next(iter(path if isinstance(path, Iterable) else ()), ""))


def _stamp(module: ModuleType) -> Stamp:
    """Return the stamp of a module's file; zeros if there is none."""
    try:
        found = os.stat(module.__file__ or "")
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
