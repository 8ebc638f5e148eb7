"""The boundary that keeps an exception in the service of one client or task from all others."""

import logging
import traceback
from collections.abc import Callable

from .processes.process_pool import CannotStart

log = logging.getLogger(__name__)


class ErrorBoundary:
    """Calls functions, and logs each exception, once for each line of code that raises one."""

    def __init__(self) -> None:
        self._logged: set[tuple[object, ...]] = set()

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Call ``function(*args)``, and suppress the exception if there is one.

        Raises
        ------
        CannotStart
            The engine has to end.
        """
        try:
            function(*args)
        except CannotStart:
            raise
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            what = type(error).__name__, where.filename, where.lineno
            if what not in self._logged:
                self._logged.add(what)
                log.exception("a bug of ours, which the scheduler survives")
