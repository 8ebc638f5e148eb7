"""The rate of a task's progress: the mean since the first step."""

import time

SOONEST = 1.0  # seconds after the first report: a rate of less is chance


class MeanRate:
    """The mean rate at which a count of steps has grown; it begins anew when the count goes back."""

    def __init__(self) -> None:
        self._begun = 0.0, float("inf"), float("inf")  # when and with how many done it has begun, and the last report's

    def after(self, done: float) -> float:
        """Return the steps per second so far; negative if these cannot be told yet.

        Parameters
        ----------
        done
            How many steps are done now.
        """
        now = time.monotonic()
        began, first, last = self._begun
        if done < last or done <= first:  # another loop; or nothing is done yet, and what went before was no step
            began, first = now, done
        self._begun = began, first, done
        return (done - first) / (now - began) if now - began >= SOONEST else -1.0
