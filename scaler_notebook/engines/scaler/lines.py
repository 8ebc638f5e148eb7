"""A task's output and reports on their way to Scaler's worker, which makes a message of every ``write``."""

import io
import threading
import time
from collections.abc import Callable
from typing import TextIO

LONGEST = 8192  # characters that wait for the end of their line
INTERVAL = 0.05  # seconds between two reports of progress


class Lines(io.TextIOBase):
    """Line-buffered, as a terminal is; from any thread.

    Parameters
    ----------
    stream
        Where whole lines go, each with one ``write``.
    before
        Gives what is to be written before anything else, or has it written.
    """

    def __init__(self, stream: TextIO, before: Callable[[], str | None]) -> None:
        self._stream, self._before = stream, before
        self.begun = False
        self._mutex = threading.RLock()  # an interrupt's handler may write too
        self._waiting = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._mutex:
            self._waiting += text
            end = max(self._waiting.rfind("\n"), self._waiting.rfind("\r")) + 1
            if end or len(self._waiting) > LONGEST:
                self._send(end or len(self._waiting))
        return len(text)

    def flush(self) -> None:
        with self._mutex:
            if self._waiting:
                self._send(len(self._waiting))

    def pass_by(self, text: str) -> None:
        """A write of its own, after what waits."""
        with self._mutex:
            self.begin()
            self.flush()
            self._stream.write(text)

    def begin(self) -> None:
        """Write what comes before anything else, if that was not done yet."""
        with self._mutex:
            if not self.begun:
                self.begun = True
                if text := self._before():
                    self._stream.write(text)

    def _send(self, end: int) -> None:
        self.begin()
        text, self._waiting = self._waiting[:end], self._waiting[end:]
        self._stream.write(text.encode(errors="replace").decode())  # a lone surrogate has no form on the wire


class Reports:
    """Takes reports of progress, any number of them, and passes on some, the last one included.

    Parameters
    ----------
    send
        Takes those that go.
    """

    def __init__(self, send: Callable[[float, float, str], None]) -> None:
        self._send = send
        self._next = 0.0
        self._kept: tuple[float, float, str] | None = None

    def __call__(self, done: float, total: float, note: str) -> None:
        self._kept = done, total, note
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Pass on what was kept back."""
        kept, self._kept = self._kept, None
        if kept is not None:
            self._next = time.monotonic() + INTERVAL
            self._send(*kept)


class Alarm:
    """Calls what it is given after a while, unless it is cleared before; a thread, for any number of times.

    Parameters
    ----------
    delay
        Seconds.
    """

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._changed = threading.Condition()
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
            time.sleep(self._delay)
            with self._changed:
                if self._call is call:
                    self._call = None
                    call()
