"""How long the runs of each function take: what is brief is prefetched (:mod:`.prefetching`)."""

from collections import OrderedDict

from scaler_notebook.protocol.messages import Payload
from scaler_notebook.protocol.payload_cache import SMALLEST

WEIGHT = 1 / 4  # of the last run in the mean
CAPACITY = 1_000  # functions that are remembered


class Durations:
    """Moving averages of the seconds that runs take, by function."""

    def __init__(self) -> None:
        self._means: OrderedDict[bytes, float] = OrderedDict()  # by content; the one that ran last is last

    def learn(self, function: Payload, seconds: float) -> None:
        """Note how long a run took.

        Parameters
        ----------
        function
            The pickled function.
        seconds
            How long; 0 if that is unknown.
        """
        content = _content(function)
        if seconds <= 0 or content is None:
            return
        mean = self._means.pop(content, seconds)
        self._means[content] = mean + WEIGHT * (seconds - mean)
        if len(self._means) > CAPACITY:
            self._means.popitem(last=False)

    def mean(self, function: Payload) -> float | None:
        """Return the seconds that a run takes; None if that is unknown."""
        content = _content(function)
        return self._means.get(content) if content is not None else None


def _content(function: Payload) -> bytes | None:
    """Return what tells a function from others; None for one with buffers, or too large to be compared."""
    if function.buffers or (not function.key and len(function.data) >= SMALLEST):
        return None
    return function.key or bytes(function.data)
