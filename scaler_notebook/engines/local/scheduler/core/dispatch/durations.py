"""How long the runs of each function take: what is brief is prefetched (:mod:`.prefetching`)."""

from collections import OrderedDict

from scaler_notebook.protocol.messages import Payload
from scaler_notebook.protocol.payload_cache import SMALLEST

BRIEF = 0.001  # seconds
IN_A_ROW = 16  # so many brief runs, one after the other, make a function a brief one
WEIGHT = 1 / 4  # of the last run in the mean
CAPACITY = 1_000  # functions that are remembered


class Durations:
    """Moving averages of the seconds that runs take, by function."""

    def __init__(self) -> None:
        # By content, the one that ran last is last: the mean, and how many runs have been brief since one was not.
        self._known: OrderedDict[bytes, tuple[float, int]] = OrderedDict()

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
        mean, in_a_row = self._known.pop(content, (seconds, 0))
        self._known[content] = mean + WEIGHT * (seconds - mean), in_a_row + 1 if seconds < BRIEF else 0
        if len(self._known) > CAPACITY:
            self._known.popitem(last=False)

    def mean_of_brief(self, function: Payload) -> float | None:
        """Return the seconds that a run of a brief function takes; None if the function is not known to be one."""
        content = _content(function)
        if content is None or (known := self._known.get(content)) is None:
            return None
        mean, in_a_row = known
        return mean if in_a_row >= IN_A_ROW else None


def _content(function: Payload) -> bytes | None:
    """Return what tells a function from others; None for one with buffers, or too large to be compared."""
    if function.buffers or (not function.key and len(function.data) >= SMALLEST):
        return None
    return function.key or bytes(function.data)
