"""How long the runs of each function take, and whether they are quiet, for :mod:`.prefetching`."""

from collections import OrderedDict
from typing import NamedTuple

from scaler_notebook.protocol.messages import Payload
from scaler_notebook.protocol.payload_cache import SMALLEST

BRIEF = 0.001  # seconds
IN_A_ROW = 16  # so many brief runs, one after the other, make a function a brief one
QUIET_IN_A_ROW = 64  # so many runs, one after the other, that wait for no word of the scheduler's make a quiet one
WEIGHT = 1 / 4  # of the last run in the mean
CAPACITY = 1_000  # functions that are remembered


class _Known(NamedTuple):
    """What is known of a function: the mean of its runs in seconds, and how many were brief, and quiet, in a row."""

    mean: float
    brief: int = 0
    quiet: int = 0


class Durations:
    """Moving averages of the seconds that runs take, by function."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, _Known] = OrderedDict()  # by content, the one that ran last is last

    def learn(self, function: Payload, seconds: float, quiet: bool = False) -> None:
        """Note how long a run took.

        Parameters
        ----------
        function
            The pickled function.
        seconds
            How long; 0 if that is unknown.
        quiet
            Did its process go on without a word of the scheduler's?
        """
        content = _content(function)
        if seconds <= 0 or content is None:
            return
        mean, brief_runs, quiet_runs = self._known.pop(content, _Known(seconds))
        self._known[content] = _Known(
            mean + WEIGHT * (seconds - mean), brief_runs + 1 if seconds < BRIEF else 0, quiet_runs + 1 if quiet else 0
        )
        if len(self._known) > CAPACITY:
            self._known.popitem(last=False)

    def mean_of_brief(self, function: Payload) -> float | None:
        """Return the seconds that a run of a brief function takes; None if the function is not known to be one."""
        content = _content(function)
        if content is None or (known := self._known.get(content)) is None:
            return None
        return known.mean if known.brief >= IN_A_ROW else None

    def is_quiet(self, function: Payload) -> bool:
        """Return whether no run of a function is expected to wait for a word of the scheduler's at its end."""
        content = _content(function)
        return content is not None and (known := self._known.get(content)) is not None and known.quiet >= QUIET_IN_A_ROW


def _content(function: Payload) -> bytes | None:
    """Return what tells a function from others; None for one with buffers, or too large to be compared."""
    if function.buffers or (not function.key and len(function.data) >= SMALLEST):
        return None
    return function.key or bytes(function.data)
