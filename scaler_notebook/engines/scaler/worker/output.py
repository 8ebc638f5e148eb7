"""What a task on a worker says while it runs: its output, and the signs between the lines."""

import io
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TextIO

from scaler_notebook.engines.scaler.wire import inband_events
from scaler_notebook.protocol.messages import DisplayKind, LogStream
from scaler_notebook.quantities import format_bytes
from scaler_notebook.task.display.display_buffer import RATE, Display, Screen, Text

from .delayed_call import Alarm

MOST = 8 * 1024 * 1024  # characters of output that are sent as they come; of more, the end alone
TAIL = 64 * 1024  # characters of that end


class Voice:
    """Of one run of a task; any thread may use it. After :meth:`close` it is silent, whoever still holds it.

    Scaler's worker makes a message of every ``write``, so what is written in quick succession is written together, and
    of displays in quick succession come those that are left of them
    (:mod:`scaler_notebook.task.display.display_buffer`). A process that dies takes along what waits for that: less than
    the pace's delay, unless it displays more than :data:`~scaler_notebook.task.display.display_buffer.RATE`.

    Parameters
    ----------
    out, err
        Scaler's streams.
    started
        Gives the sign that comes before anything else, or after a while if there is nothing else.
    alarm, pace
        What knows the times: until that sign, and between two writes.
    whole
        A stretch that the task's interrupt does not tear.
    """

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        started: Callable[[], inband_events.Started],
        alarm: Alarm,
        pace: Alarm,
        whole: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._streams, self._started = dict(zip(LogStream, (out, err), strict=True)), started
        self._whole = whole
        self._alarm, self._pace = alarm, pace
        self._mutex = threading.RLock()  # an interrupt's handler may speak too
        self.begun = False  # has it said anything?
        self._over = False
        self._pid = os.getpid()
        self._next = self._due = 0.0  # when it speaks again without being told to, and when it may at all
        self._screen = Screen()
        self._report: inband_events.Progress | None = None
        self._left = MOST
        self._tail: list[Text] = []  # of a flood, with the characters in it and before it
        self._kept = self._dropped = 0
        self.stdout, self.stderr = (Stream(self, stream) for stream in LogStream)

    def begin(self) -> None:
        """The task's code begins."""
        self._alarm.set(self._say_started)

    def write(self, stream: LogStream, text: str) -> None:
        """Soon, and in order."""
        text = text.encode(errors="replace").decode()  # a lone surrogate has no form on the wire
        if os.getpid() != self._pid:  # a process that the task has forked: Scaler's streams have no threads there
            if sys.__stdout__ is not None:
                sys.__stdout__.write(text)  # the worker's log
                sys.__stdout__.flush()
            return
        with self._whole(), self._mutex:
            sent, kept = text[: self._left], text[self._left :]
            self._left -= len(sent)
            if sent:
                self._screen.write(stream, sent)
                self._soon()
            if kept:
                self._tail.append((stream, kept))
                self._kept += len(kept)
                while self._kept - len(self._tail[0][1]) >= TAIL:
                    self._kept -= len(first := self._tail.pop(0)[1])
                    self._dropped += len(first)

    def report(self, done: float, total: float, note: str) -> None:
        """Progress; of many reports some go, the last one before a pause included."""
        if os.getpid() != self._pid:
            return
        with self._whole(), self._mutex:
            self._report = inband_events.Progress(done, total, note)
            self._soon()

    def publish(self, kind: DisplayKind, display_id: str, bundle: bytes, metadata: bytes) -> None:
        """As :mod:`scaler_notebook.task.display.displays` has it."""
        if os.getpid() == self._pid:
            with self._whole(), self._mutex:
                self._screen.display(kind, display_id, len(bundle) + len(metadata), lambda: (bundle, metadata))
                self._soon()

    def tell(self, sign: inband_events.Sign) -> None:
        """Now, after what was said before."""
        with self._whole(), self._mutex:
            self.flush(last=True)
            self._say(LogStream.STDOUT, inband_events.encode(sign))

    def flush(self, last: bool = False) -> None:
        """Say what waits, now, unless there was too much of it; and the end of a flood, if it is the ``last``."""
        if os.getpid() != self._pid:  # the lock may be in the hands of a thread that is not here
            return
        with self._whole(), self._mutex:
            if time.monotonic() < self._due and not last:
                self._pace.set(self.flush)
                return
            displayed = 0
            if last and self._tail:
                words = f"\n[… {format_bytes(self._dropped)} of output dropped …]\n"
                for stream, text in [(self._tail[0][0], words)] * bool(self._dropped) + self._tail:
                    self._screen.write(stream, text)
                self._tail, self._kept, self._dropped = [], 0, 0
            for piece in self._screen.take():
                if isinstance(piece, Display):
                    displayed += piece.size
                    kind, display_id, *body = piece
                    sign = inband_events.Display(kind.value, display_id, *(part.decode() for part in body))
                    self._say(LogStream.STDOUT, inband_events.encode(sign))
                else:
                    self._say(*piece)
            report, self._report = self._report, None
            if report is not None:
                self._say(LogStream.STDOUT, inband_events.encode(report))
            now = time.monotonic()
            self._next, self._due = now + self._pace.delay, now + displayed / RATE

    def close(self) -> None:
        """Say what waits; that is all."""
        self._alarm.clear()
        self._pace.clear()
        with self._mutex:
            self.flush(last=True)
            self._over = True

    def _soon(self) -> None:
        if time.monotonic() >= self._next:
            self.flush()
        else:
            self._pace.set(self.flush)

    def _say_started(self) -> None:
        with self._mutex:
            if not self.begun and not self._over:
                self.begun = True
                self._streams[LogStream.STDOUT].write(inband_events.encode(self._started()))

    def _say(self, stream: LogStream, text: str) -> None:
        if not self._over and os.getpid() == self._pid:
            self._say_started()
            self._streams[stream].write(text)


class Stream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr`` of a task."""

    encoding = "utf-8"

    def __init__(self, voice: Voice, stream: LogStream) -> None:
        self._voice, self._stream = voice, stream

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._voice.write(self._stream, text)
        return len(text)

    def flush(self) -> None:
        self._voice.flush()
