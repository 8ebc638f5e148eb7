"""Proxies of a :mod:`multiprocessing` manager, which keeps an object for as long as some process has a proxy of it.

A pickled proxy on its way to a task does not count for the manager. So the sender has to hold its proxy until the
receiver has one of its own.
"""

import contextlib
import io
import sys
from typing import Any

from scaler_notebook.protocol.messages import Payload

from . import pickler

MANAGERS = "multiprocessing.managers"
_MARK = MANAGERS.encode()


def proxies_in(value: Any, pickled: Payload) -> tuple[Any, ...]:
    """Return the proxies that a value contains, however deep.

    Parameters
    ----------
    value
        The value.
    pickled
        The pickle of the value. A pickle that does not name the managers' module contains no proxies, which is quick to
        see.
    """
    if _MARK not in bytes(pickled.data) or MANAGERS not in sys.modules:
        return ()
    finder = _ProxyFinder(io.BytesIO(), pickler.PROTOCOL, buffer_callback=lambda _: False)
    with contextlib.suppress(Exception):  # a pickling error was reported when the value was pickled
        finder.dump(value)
    return tuple(finder.found)


class _ProxyFinder(pickler.Pickler):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.found: list[Any] = []
        self._kind = sys.modules[MANAGERS].BaseProxy

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, self._kind):
            self.found.append(obj)
        return super().reducer_override(obj)
