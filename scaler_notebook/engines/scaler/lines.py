"""Output in whole lines, reports at a pace, and what tells them the time."""

import io
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

LONGEST = 8192  # characters that wait for the end of their line


class Lines(io.TextIOBase):
    """Line-buffered, as a terminal is; from any thread.

    Parameters
    ----------
    write
        Takes whole lines, several at once if they were written at once.
    mutex
        Shared with the other streams of the same task.
    """

    def __init__(self, write: Callable[[str], object], mutex: AbstractContextManager[Any]) -> None:
        self._write, self._mutex = write, mutex
        self._waiting = ""
        self.before: Callable[[], None] | None = (
            None  # called before something new waits: the others' was written first
        )

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._mutex:
            if self.before is not None:
                self.before()
            self._waiting += text
            end = max(self._waiting.rfind("\n"), self._waiting.rfind("\r")) + 1
            if end or len(self._waiting) > LONGEST:
                self._send(end or len(self._waiting))
        return len(text)

    def flush(self) -> None:
        with self._mutex:
            if self._waiting:
                self._send(len(self._waiting))

    def _send(self, end: int) -> None:
        text, self._waiting = self._waiting[:end], self._waiting[end:]
        self._write(text.encode(errors="replace").decode())  # a lone surrogate has no form on the wire


class Alarm:
    """Calls what it is given after a while, unless it is cleared before; a thread, for any number of times.

    Parameters
    ----------
    delay
        Seconds.
    """

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self._changed = threading.Condition(threading.RLock())  # an interrupt's handler may set it too
        self._call: Callable[[], object] | None = None
        threading.Thread(target=self._watch, name="scaler_notebook alarm", daemon=True).start()

    def set(self, call: Callable[[], object]) -> None:
        """To be called, instead of what was to be called before."""
        with self._changed:
            self._call = call
            self._changed.notify()

    def clear(self) -> None:
        """It is not, any more; if it is called just now, this waits."""
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
                if self._call is call:
                    self._call = None
                    call()


class Reports:
    """Takes reports of progress, any number of them, and passes on some, the last one before a pause included.

    Parameters
    ----------
    send
        Takes those that go.
    pace
        What knows when the next may go.
    """

    def __init__(self, send: Callable[[float, float, str], None], pace: Alarm) -> None:
        self._send, self._pace = send, pace
        self._next = 0.0
        self._kept: tuple[float, float, str] | None = None

    def __call__(self, done: float, total: float, note: str) -> None:
        waits = self._kept is not None
        self._kept = done, total, note
        if time.monotonic() >= self._next:
            self.flush()
        elif not waits:
            self._pace.set(self.flush)

    def flush(self) -> None:
        """Pass on what was kept back."""
        kept, self._kept = self._kept, None
        if kept is not None:
            self._next = time.monotonic() + self._pace.delay
            self._send(*kept)
