"""How long the other side of a connection has been silent."""


class Silence:
    """The time in which a peer that is asked for signs of life gives none, while this process listens.

    A process that is stopped, or computes, does not listen: of the time between two requests, no more counts than twice
    the interval.

    Parameters
    ----------
    interval
        Seconds between two requests.

    Attributes
    ----------
    seconds
        How long the peer has been silent.
    """

    def __init__(self, interval: float) -> None:
        self.seconds = 0.0
        self._interval = interval
        self._asked_at: float | None = None  # when a sign of life was requested that has not come, in monotonic seconds

    def end(self) -> None:
        """Note a sign of life."""
        self.seconds, self._asked_at = 0.0, None

    def ask(self, now: float) -> None:
        """Note that a sign of life is requested.

        Parameters
        ----------
        now
            In monotonic seconds.
        """
        if self._asked_at is not None:
            self.seconds += min(now - self._asked_at, 2 * self._interval)
        self._asked_at = now
