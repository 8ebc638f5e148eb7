"""The settings of the notebook that its tasks have too, and the check whether they have changed.

:mod:`scaler_notebook.protocol.settings` has their encoded form.
"""

import logging
import math
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from scaler_notebook.protocol import settings
from scaler_notebook.task.isolation.module_settings import PandasOptions
from scaler_notebook.task.isolation.umask import read_umask

from .user_modules import FRESH, USER_MODULES

T = TypeVar("T")


class NotebookSettings:
    """Reader of this process's settings; those of a module are read once the module is imported."""

    def __init__(self) -> None:
        self._pandas: PandasOptions | None = None
        self._umask, self._umask_read = 0, -math.inf  # and when, in monotonic seconds
        self._of_modules = (
            ("numpy", self._numpy_errors),
            ("pandas", self._pandas_options),
            ("matplotlib", self._matplotlib_parameters),
        )

    def values(self) -> list[Any]:
        """Return values whose comparison shows whether a setting has changed; takes a few microseconds."""
        return [
            warnings.filters[:],
            sys.getrecursionlimit(),
            logging.root.level,
            self._read_umask(),
            USER_MODULES.changed_values(),
            *[_read(of_module) for name, of_module in self._of_modules if name in sys.modules],
        ]

    def encoded(self) -> bytes:
        """Return the current settings, encoded for the tasks."""
        plain = {
            settings.FILTERS: settings.encode_filters(warnings.filters),
            settings.RECURSION: sys.getrecursionlimit(),
            settings.LOG_LEVEL: logging.root.level,
            settings.UMASK: self._read_umask(),
        }
        if changed := USER_MODULES.changed_values():
            plain[settings.MODULE_VALUES] = changed
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

    def _read_umask(self) -> int:
        """Return the umask, which takes longer to read than all the rest: one reading serves a burst of submits."""
        now = time.monotonic()
        if now - self._umask_read > FRESH:
            self._umask, self._umask_read = read_umask(), now
        return self._umask

    @staticmethod
    def _numpy_errors() -> dict[str, str] | None:
        """Return numpy's error state; None if numpy is not imported."""
        numpy = _loaded("numpy")
        return numpy.geterr() if numpy is not None else None

    def _pandas_options(self) -> dict[str, Any] | None:
        """Return pandas' options; None if pandas is not imported."""
        if self._pandas is None:
            if _loaded("pandas") is None or (config := sys.modules.get("pandas._config.config")) is None:
                return None
            self._pandas = PandasOptions(config)
        return self._pandas.read()

    @staticmethod
    def _matplotlib_parameters() -> list[Any] | None:
        """Return matplotlib's parameters; None if matplotlib is not imported."""
        matplotlib = _loaded("matplotlib")
        return [*dict.values(matplotlib.rcParams)] if matplotlib is not None else None


def _read(of_module: Callable[[], T]) -> T | None:
    """Return what a function reads of a library; None if another, or half a, module has the library's name."""
    try:  # not suppress(), which costs more than the reading
        return of_module()
    except Exception:
        return None


def _changed_parameters() -> dict[str, Any] | None:
    """Return matplotlib's parameters that differ from its defaults; None if matplotlib is not imported."""
    if (matplotlib := _loaded("matplotlib")) is None:
        return None
    defaults = matplotlib.rcParamsDefault
    return {
        name: value
        for name, value in dict.items(matplotlib.rcParams)
        if not name.startswith(settings.DISPLAY_PARAMETERS) and _differs(value, dict.get(defaults, name))
    }


def _loaded(name: str) -> Any:
    """Return a module that is imported completely; None if it is not, for another thread may be importing it."""
    module = sys.modules.get(name)
    return None if module is None or getattr(module.__spec__, "_initializing", False) else module


def _differs(value: Any, default: Any) -> bool:
    """Return whether two values differ, also if they cannot be compared."""
    try:
        return bool(value != default)
    except Exception:  # such as of an array
        return True
