"""A clock that stands still until a test moves it."""

from __future__ import annotations


class FakeClock:
    """Implements :class:`scaler_notebook.engines.scheduling.timers.Clock`.

    Parameters
    ----------
    epoch
        Seconds since the epoch when the clock begins.
    """

    def __init__(self, epoch: float = 1_000_000.0) -> None:
        self.now = 0.0  # monotonic seconds
        self._epoch = epoch

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self._epoch + self.now
