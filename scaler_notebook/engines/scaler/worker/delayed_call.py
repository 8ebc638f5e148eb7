"""A call that is made after a delay, and may be scheduled any number of times at the price of one thread."""

import threading
import time
from collections.abc import Callable


class DelayedCall:
    """A slot for one call at a time, with a thread of its own.

    Parameters
    ----------
    delay
        Seconds between scheduling and calling.
    """

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self._changed = threading.Condition(threading.RLock())  # a signal handler may schedule, too
        self._call: Callable[[], object] | None = None
        threading.Thread(target=self._watch, name="scaler_notebook delayed call", daemon=True).start()

    def schedule(self, call: Callable[[], object]) -> None:
        """Have ``call()`` called after the delay, in place of a call that still waits."""
        with self._changed:
            self._call = call
            self._changed.notify()

    def cancel(self) -> None:
        """Drop the call that waits; a call that has just become due may still be made."""
        with self._changed:
            self._call = None

    def _watch(self) -> None:
        while True:
            with self._changed:
                while self._call is None:
                    self._changed.wait()
                call = self._call
            time.sleep(self.delay)
            with self._changed:
                if self._call is not call:
                    continue
                self._call = None
            call()
