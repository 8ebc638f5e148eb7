"""Proxies of a :mod:`multiprocessing` manager, which keeps an object for as long as some process has a proxy of it.

On its way to a task a proxy is bytes, and nobody's: who sends one has to keep it until the other end has its own.
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
    """The proxies in a value, however deep.

    Parameters
    ----------
    value
        What was pickled.
    pickled
        Its pickle; one that names nothing of the managers has no proxies, which takes no time to see.
    """
    if _MARK not in bytes(pickled.data) or MANAGERS not in sys.modules:
        return ()
    finder = _ProxyFinder(io.BytesIO(), pickler.PROTOCOL, buffer_callback=lambda _: False)
    with contextlib.suppress(Exception):  # it was pickled before
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
