"""The settings of the notebook that its tasks have too, noticed when they change.

:mod:`scaler_notebook.protocol.settings` has their form on the way.
"""

import logging
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from scaler_notebook.protocol import settings
from scaler_notebook.task.isolation.module_settings import PandasOptions

T = TypeVar("T")


class NotebookSettings:
    """Reads this process's settings; what modules have, once those are imported."""

    def __init__(self) -> None:
        self._pandas: PandasOptions | None = None

    def values(self) -> list[Any]:
        """What is compared to notice a change; takes a few microseconds."""
        return [
            warnings.filters[:],
            sys.getrecursionlimit(),
            logging.root.level,
            *map(_read, (self._numpy_errors, self._pandas_options, self._matplotlib_parameters)),
        ]

    def encoded(self) -> bytes:
        """The settings of now, for the tasks."""
        plain = {
            settings.FILTERS: settings.encode_filters(warnings.filters),
            settings.RECURSION: sys.getrecursionlimit(),
            settings.LOG_LEVEL: logging.root.level,
        }
        if errors := _read(self._numpy_errors):
            plain[settings.NUMPY_ERRORS] = errors
        of_modules = {}
        if options := _read(self._pandas_options):
            known = sys.modules["pandas._config.config"]._registered_options
            changed = {name: value for name, value in options.items() if _differs(value, known[name].defval)}
            of_modules[settings.PANDAS_OPTIONS] = changed
        if (parameters := _read(_changed_parameters)) is not None:
            of_modules[settings.MATPLOTLIB_PARAMETERS] = parameters
        return settings.encode(plain, of_modules)

    @staticmethod
    def _numpy_errors() -> dict[str, str] | None:
        numpy = _loaded("numpy")
        return numpy.geterr() if numpy is not None else None

    def _pandas_options(self) -> dict[str, Any] | None:
        if self._pandas is None:
            if _loaded("pandas") is None or (config := sys.modules.get("pandas._config.config")) is None:
                return None
            self._pandas = PandasOptions(config)
        return self._pandas.read()

    @staticmethod
    def _matplotlib_parameters() -> list[Any] | None:
        matplotlib = _loaded("matplotlib")
        return [*dict.values(matplotlib.rcParams)] if matplotlib is not None else None


def _read(of_module: Callable[[], T]) -> T | None:
    """What a library has; None if another module, or a half of one, is there under its name."""
    with suppress(Exception):
        return of_module()
    return None


def _changed_parameters() -> dict[str, Any] | None:
    if (matplotlib := _loaded("matplotlib")) is None:
        return None
    defaults = matplotlib.rcParamsDefault
    return {
        name: value
        for name, value in dict.items(matplotlib.rcParams)
        if not name.startswith(settings.DISPLAY_PARAMETERS) and _differs(value, dict.get(defaults, name))
    }


def _loaded(name: str) -> Any:
    """A module that has been imported to its end: another thread may be at it."""
    module = sys.modules.get(name)
    return None if module is None or getattr(module.__spec__, "_initializing", False) else module


def _differs(value: Any, default: Any) -> bool:
    try:
        return bool(value != default)
    except Exception:  # an array among them
        return True
