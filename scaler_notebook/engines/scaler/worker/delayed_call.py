"""Calls something after a while, any number of times, for the price of one thread."""

import threading
import time
from collections.abc import Callable


class DelayedCall:
    """One call at a time waits in it.

    Parameters
    ----------
    delay
        Seconds.
    """

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self._changed = threading.Condition(threading.RLock())  # an interrupt's handler may set it too
        self._call: Callable[[], object] | None = None
        threading.Thread(target=self._watch, name="scaler_notebook delayed call", daemon=True).start()

    def schedule(self, call: Callable[[], object]) -> None:
        """To be called, instead of what was to be called before."""
        with self._changed:
            self._call = call
            self._changed.notify()

    def cancel(self) -> None:
        """It is not, any more; it may be on its way all the same."""
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
