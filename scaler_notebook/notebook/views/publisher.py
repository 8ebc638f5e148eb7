"""The publisher: the one thread that sends to browsers. It merges changes, and bounds the rate of messages.

A notebook server drops output beyond 1,000 messages a second, and a view that changes more often than a person can see
would only keep the browser busy.
"""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

VIEW_INTERVAL = 0.05  # seconds between two messages of one view, in the long run
BURST = 2  # messages that a quiet view may send without a pause: a click brings "cancelling…" and then the end
TOTAL_INTERVAL = 0.005  # seconds between two messages of all views together

log = logging.getLogger(__name__)


class View(Protocol):
    """A display in a browser of something that changes."""

    def publish(self) -> None:
        """Send the present state, or what has changed; on the publisher's thread only."""


class Publisher:
    """Sends what views have to say, on a thread that starts with the first view.

    The thread is a daemon: a view must not keep a kernel from ending.
    """

    def __init__(self) -> None:
        # ``with`` is on the lock: an interrupt within a condition's ``__enter__`` would leave it locked, and the agent,
        # which marks views, waiting for ever.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._due: dict[View, float] = {}  # marked views, and when they may send
        # Views that have sent lately, and when they will have been quiet for long enough to send a burst again. This is
        # the "virtual scheduling" of ATM's generic cell rate algorithm (ITU-T I.371).
        self._quiet_at: dict[View, float] = {}
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._sending = False
        self._thread: threading.Thread | None = None

    def mark(self, view: View) -> None:
        """Mark a view that has changed: it will be published. Marking it twice publishes it once. On any thread."""
        with self._lock:
            if view not in self._due:
                self._due[view] = self._quiet_at.get(view, 0.0) - (BURST - 1) * VIEW_INTERVAL
                self._wake()

    def call_later(self, delay: float, call: Callable[[], None]) -> None:
        """Run ``call`` on the publisher's thread.

        Parameters
        ----------
        delay
            Seconds from now.
        call
            The call; its exceptions are logged.
        """
        with self._lock:
            heapq.heappush(self._later, (time.monotonic() + delay, next(self._order), call))
            self._wake()

    def forget(self, view: View) -> None:
        """Publish a view no more."""
        with self._lock:
            self._due.pop(view, None)
            self._quiet_at.pop(view, None)

    def flush(self, timeout: float) -> None:
        """Publish everything that is marked now, and wait for that, at most ``timeout`` seconds."""
        with self._lock:
            if not self._due and not self._sending:
                return
            self._due = dict.fromkeys(self._due, 0.0)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._due and not self._sending, timeout)

    def _wake(self) -> None:
        """Have the thread look for work; start it if there is none."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="scaler_notebook publisher", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        """Make one call after the other, with a pause after each."""
        while True:
            call = self._next()
            try:
                call()
            except Exception:
                log.exception("a view could not be updated")
            del call  # else it would keep a view, and the view a future, until the next call
            with self._lock:
                self._sending = False
                self._changed.notify_all()
            time.sleep(TOTAL_INTERVAL)

    def _next(self) -> Callable[[], None]:
        """Wait for the next call that is due, and return it."""
        with self._lock:
            while True:
                now = time.monotonic()
                self._quiet_at = {view: at for view, at in self._quiet_at.items() if at > now}
                if self._later and self._later[0][0] <= now:
                    return heapq.heappop(self._later)[2]
                first = min(self._due, key=self._due.__getitem__, default=None)
                if first is not None and self._due[first] <= now:
                    del self._due[first]
                    self._quiet_at[first] = max(now, self._quiet_at.get(first, 0.0)) + VIEW_INTERVAL
                    self._sending = True
                    return first.publish
                times = [self._later[0][0]] if self._later else []
                times += [self._due[first]] if first is not None else []
                times += [min(self._quiet_at.values())] if self._quiet_at else []
                self._changed.wait(min(times) - now if times else None)


publisher = Publisher()
