"""The output of a task on a worker, with in-band events between the lines."""

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
from scaler_notebook.task.display.display_buffer import RATE, BufferedDisplay, DisplayBuffer, Text

from .delayed_call import DelayedCall

MAX_OUTPUT = 8 * 1024 * 1024  # characters of output that are sent as they come; of any more, only the end is sent
MAX_TAIL = 64 * 1024  # characters of that end


class OutputWriter:
    """The output and the events of one run of a task. Usable on any thread; after :meth:`close` nothing is written.

    Scaler's worker makes a message of every ``write``. So text that is written in quick succession is written together,
    and displays in quick succession are reduced to those that are still visible
    (:mod:`scaler_notebook.task.display.display_buffer`). A process that dies loses what waits for that: less than the
    delay of ``pace``, unless the task displays more than :data:`~scaler_notebook.task.display.display_buffer.RATE`.

    Parameters
    ----------
    out, err
        Scaler's streams.
    started
        Returns the event that is written first, or after a while if nothing else is written.
    start_call, pace
        The delayed calls that write the first event, and that write what waits.
    defer_interrupts
        Returns a context manager within which the task's interrupt is deferred.
    """

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        started: Callable[[], inband_events.StartedEvent],
        start_call: DelayedCall,
        pace: DelayedCall,
        defer_interrupts: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._streams, self._started = dict(zip(LogStream, (out, err), strict=True)), started
        self._defer_interrupts = defer_interrupts
        self._start_call, self._pace = start_call, pace
        self._mutex = threading.RLock()  # a signal handler may write, too
        self.started_sent = False
        self._closed = False
        self._pid = os.getpid()
        self._next = self._due = 0.0  # when the next write flushes at once, and when flushing is allowed again
        self._buffer = DisplayBuffer()
        self._report: inband_events.ProgressEvent | None = None
        self._left = MAX_OUTPUT
        self._tail: list[Text] = []  # the end of a flood of output
        self._tail_size = self._dropped = 0  # characters in the tail, and characters dropped before it
        self.stdout, self.stderr = (OutputStream(self, stream) for stream in LogStream)

    def begin(self) -> None:
        """Schedule the start event: the task's code begins."""
        self._start_call.schedule(self._send_started)

    def write(self, stream: LogStream, text: str) -> None:
        """Write text soon, and in order.

        Parameters
        ----------
        stream
            The task's stream.
        text
            The text; what cannot be encoded is replaced.
        """
        text = text.encode(errors="replace").decode()  # a lone surrogate has no form on the wire
        if os.getpid() != self._pid:  # in a forked process Scaler's streams have no threads
            if sys.__stdout__ is not None:
                sys.__stdout__.write(text)  # the worker's log
                sys.__stdout__.flush()
            return
        with self._defer_interrupts(), self._mutex:
            sent, kept = text[: self._left], text[self._left :]
            self._left -= len(sent)
            if sent:
                self._buffer.write(stream, sent)
                self._flush_soon()
            if kept:
                self._tail.append((stream, kept))
                self._tail_size += len(kept)
                while self._tail_size - len(self._tail[0][1]) >= MAX_TAIL:
                    self._tail_size -= len(first := self._tail.pop(0)[1])
                    self._dropped += len(first)

    def report(self, done: float, total: float, note: str, rate: float = -1.0, unit: str = "") -> None:
        """Send progress soon. Of many reports some are sent, always including the last one before a pause.

        Parameters
        ----------
        done
            How many steps are done.
        total
            How many steps there are; negative if unknown.
        note
            A few words for a person.
        rate
            How many steps are done in a second; negative if unknown.
        unit
            What a step is.
        """
        if os.getpid() != self._pid:
            return
        with self._defer_interrupts(), self._mutex:
            self._report = inband_events.ProgressEvent(done, total, note, rate, unit)
            self._flush_soon()

    def publish(self, kind: DisplayKind, display_id: str, bundle: bytes, metadata: bytes) -> None:
        """Send a display soon, as :mod:`scaler_notebook.task.display.display_publisher` publishes it.

        Parameters
        ----------
        kind
            Whether the display is new, an update, or clears what was shown before.
        display_id
            IPython's id of the display; empty for none.
        bundle, metadata
            JSON texts in UTF-8.
        """
        if os.getpid() == self._pid:
            with self._defer_interrupts(), self._mutex:
                self._buffer.display(kind, display_id, len(bundle) + len(metadata), lambda: (bundle, metadata))
                self._flush_soon()

    def send_event(self, event: inband_events.InbandEvent) -> None:
        """Send an event at once, after everything that was written before."""
        with self._defer_interrupts(), self._mutex:
            self.flush(last=True)
            self._write_now(LogStream.STDOUT, inband_events.encode(event))

    def flush(self, last: bool = False) -> None:
        """Write what waits, unless the rate of displays is exceeded.

        Parameters
        ----------
        last
            Write whatever the rate, and write the end of a flood.
        """
        if os.getpid() != self._pid:  # the lock may be held by a thread of the parent
            return
        with self._defer_interrupts(), self._mutex:
            if time.monotonic() < self._due and not last:
                self._pace.schedule(self.flush)
                return
            displayed = 0
            if last and self._tail:
                words = f"\n[… {format_bytes(self._dropped)} of output dropped …]\n"
                for stream, text in [(self._tail[0][0], words)] * bool(self._dropped) + self._tail:
                    self._buffer.write(stream, text)
                self._tail, self._tail_size, self._dropped = [], 0, 0
            for piece in self._buffer.take():
                if isinstance(piece, BufferedDisplay):
                    displayed += piece.size
                    kind, display_id, *body = piece
                    event = inband_events.DisplayEvent(kind.value, display_id, *(part.decode() for part in body))
                    self._write_now(LogStream.STDOUT, inband_events.encode(event))
                else:
                    self._write_now(*piece)
            report, self._report = self._report, None
            if report is not None:
                self._write_now(LogStream.STDOUT, inband_events.encode(report))
            now = time.monotonic()
            self._next, self._due = now + self._pace.delay, now + displayed / RATE

    def close(self) -> None:
        """Write what waits, and stop writing."""
        self._start_call.cancel()
        self._pace.cancel()
        with self._mutex:
            self.flush(last=True)
            self._closed = True

    def _flush_soon(self) -> None:
        if time.monotonic() >= self._next:
            self.flush()
        else:
            self._pace.schedule(self.flush)

    def _send_started(self) -> None:
        with self._mutex:
            if not self.started_sent and not self._closed:
                self.started_sent = True
                self._streams[LogStream.STDOUT].write(inband_events.encode(self._started()))

    def _write_now(self, stream: LogStream, text: str) -> None:
        if not self._closed and os.getpid() == self._pid:
            self._send_started()
            self._streams[stream].write(text)


class OutputStream(io.TextIOBase):
    """The object that serves as ``sys.stdout`` or ``sys.stderr`` of a task.

    Parameters
    ----------
    output
        Receives the text.
    stream
        Which of the two streams.
    """

    encoding = "utf-8"

    def __init__(self, output: OutputWriter, stream: LogStream) -> None:
        self._output, self._stream = output, stream

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Write text, and return the number of characters."""
        self._output.write(self._stream, text)
        return len(text)

    def flush(self) -> None:
        """Write what waits."""
        self._output.flush()
