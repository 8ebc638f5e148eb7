"""Objects on their way to the engine, and the segments that they need until the engine has them."""

import itertools
import logging
from collections import deque
from dataclasses import dataclass, field

from scaler_notebook.protocol.messages import Payload, Task

from .segments import ClientSegments

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Transfer:
    """The values under one object id that are on their way."""

    keys: list[str] = field(default_factory=list)  # under which the segments are retained
    arrived: int = 0  # how many of the values the engine has


class ObjectTransfers:
    """Retains the segments of objects until the engine has taken the objects over.

    Parameters
    ----------
    segments
        The client's segments.
    """

    def __init__(self, segments: ClientSegments) -> None:
        self._segments = segments
        self._numbers = itertools.count()
        # Any thread appends to these two queues. All else is the agent's thread's alone, which takes no lock.
        self._adopted: deque[tuple[str, str]] = deque()  # (object id, key)
        self._disowned: deque[str] = deque()  # object ids
        self._transfers: dict[str, _Transfer] = {}  # by object id

    def adopt(self, object_id: str, content: Payload) -> Payload:
        """Retain the large buffers of an object, and return what to send of it. Any thread may call this.

        Parameters
        ----------
        object_id
            The id of the object.
        content
            The object, pickled.
        """
        # A key of its own each time: several values of one id may be on their way at once.
        key = f"{object_id} {next(self._numbers)}"
        self._adopted.append((object_id, key))
        return self._segments.adopt(Task(key, Payload(b""), content)).arguments

    def disown(self, object_id: str) -> None:
        """Note that a value is not going to be sent; an unknown id is ignored. Any thread may call this."""
        if any(adopted == object_id for adopted, _ in self._adopted) or object_id in self._transfers:
            self._disowned.append(object_id)

    def release_disowned(self) -> None:
        """Release what :meth:`disown` has noted. The agent's thread."""
        while self._disowned:
            self.arrived(self._disowned.popleft())

    def arrived(self, object_id: str) -> None:
        """Note that the engine has one of the values under this id. The agent's thread.

        In which order the values were sent is not known here, so all segments are released with the last value.
        """
        while self._adopted:
            adopted, key = self._adopted.popleft()
            self._transfers.setdefault(adopted, _Transfer()).keys.append(key)
        transfer = self._transfers.get(object_id)
        if transfer is None:
            log.error("the engine has an object %r that it was not sent: a bug in the engine", object_id)
            return
        transfer.arrived += 1
        if transfer.arrived == len(transfer.keys):
            del self._transfers[object_id]
            for key in transfer.keys:
                self._segments.release(key)
