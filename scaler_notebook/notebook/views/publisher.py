"""The one thread that sends to browsers: changes are coalesced, and their rate is bounded.

A notebook server drops output beyond 1,000 messages a second; a view that changes more often than a person can see
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
BURST = 2  # messages of a view that was quiet may follow each other at once: a click brings "cancelling…" and the end
TOTAL_INTERVAL = 0.005  # seconds between two messages of all views together

log = logging.getLogger(__name__)


class View(Protocol):
    """Something in a browser that shows a state."""

    def publish(self) -> None:
        """Send what it shows now; on the publisher's thread only."""


class Publisher:
    """Started with its first view; a daemon, for a view must not keep a kernel from ending."""

    def __init__(self) -> None:
        # ``with`` is on the lock: an interrupt within a condition's ``__enter__`` would leave it locked, and the agent,
        # which marks views, waiting for ever.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._due: dict[View, float] = {}  # views that have something to send, and when they may
        # Views that have sent lately, and when they will have been quiet for long enough to send a burst again. This is
        # the "virtual scheduling" of ATM's generic cell rate algorithm (ITU-T I.371).
        self._quiet_at: dict[View, float] = {}
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._sending = False
        self._thread: threading.Thread | None = None

    def mark(self, view: View) -> None:
        """``view`` has changed; any thread, never blocks for long. Marking it twice sends once."""
        with self._lock:
            if view not in self._due:
                self._due[view] = self._quiet_at.get(view, 0.0) - (BURST - 1) * VIEW_INTERVAL
                self._wake()

    def call_later(self, delay: float, call: Callable[[], None]) -> None:
        """Run ``call`` on the publisher's thread in ``delay`` seconds."""
        with self._lock:
            heapq.heappush(self._later, (time.monotonic() + delay, next(self._order), call))
            self._wake()

    def forget(self, view: View) -> None:
        """``view`` sends no more."""
        with self._lock:
            self._due.pop(view, None)
            self._quiet_at.pop(view, None)

    def flush(self, timeout: float) -> None:
        """Have everything that is marked sent now, and wait for it, at most ``timeout`` seconds."""
        with self._lock:
            if not self._due and not self._sending:
                return
            self._due = dict.fromkeys(self._due, 0.0)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._due and not self._sending, timeout)

    def _wake(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="scaler_notebook publisher", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            call = self._next()
            try:
                call()
            except Exception:
                log.exception("a view could not be updated")
            del call  # it would keep a view, and with it a future, until the next one
            with self._lock:
                self._sending = False
                self._changed.notify_all()
            time.sleep(TOTAL_INTERVAL)

    def _next(self) -> Callable[[], None]:
        """The next thing to do, waited for."""
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
