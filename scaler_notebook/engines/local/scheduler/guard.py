"""What keeps a bug of ours, met while one client or task is served, from all the others."""

import logging
import traceback
from collections.abc import Callable

from .processes.process_pool import CannotStart

log = logging.getLogger(__name__)


class Guard:
    """Makes calls, and logs the exception of each place in the code once."""

    def __init__(self) -> None:
        self._logged: set[tuple[object, ...]] = set()

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Call ``function(*args)``.

        Raises
        ------
        CannotStart
            The engine has to end. Every other exception is logged and suppressed.
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
