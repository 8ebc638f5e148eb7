"""What a task on a worker says while it runs: its output, and the signs between the lines."""

import os
import sys
import threading
from collections.abc import Callable
from typing import TextIO

from ...protocol.messages import DisplayKind
from . import signs
from .lines import Alarm, Lines, Reports


class Voice:
    """Of one run of a task; any thread may use it. After :meth:`close` it is silent, whoever still holds it.

    Parameters
    ----------
    out, err
        Scaler's streams, which make a message of every ``write``.
    started
        Gives the sign that comes before anything else, or after a while if there is nothing else.
    alarm, pace
        What knows the times: until that sign, and between two reports of progress.
    """

    def __init__(
        self, out: TextIO, err: TextIO, started: Callable[[], signs.Started], alarm: Alarm, pace: Alarm
    ) -> None:
        self._out, self._started = out, started
        self._alarm, self._pace = alarm, pace
        self._mutex = threading.RLock()  # an interrupt's handler may speak too
        self._begun = self._over = False
        self._pid = os.getpid()
        self.stdout = Lines(lambda text: self._write(out, text), self._mutex)
        self.stderr = Lines(lambda text: self._write(err, text), self._mutex)
        self.stdout.before, self.stderr.before = self.stderr.flush, self.stdout.flush
        self.reports = Reports(lambda done, total, note: self.tell(signs.Progress(done, total, note)), pace)

    def begin(self) -> None:
        """The task's code begins."""
        self._alarm.set(self._say_started)

    def tell(self, sign: signs.Sign) -> None:
        """After what was written before."""
        with self._mutex:
            self.stdout.flush()
            self.stderr.flush()
            self._write(self._out, signs.encode(sign))

    def publish(self, kind: DisplayKind, display_id: str, bundle: bytes, metadata: bytes) -> None:
        """As :mod:`..displays` has it."""
        self.tell(signs.Display(kind.value, display_id, bundle.decode(), metadata.decode()))

    def close(self) -> None:
        """Say what was kept back; that is all."""
        self._alarm.clear()
        self._pace.clear()
        with self._mutex:
            self.reports.flush()
            self.stdout.flush()
            self.stderr.flush()
            self._over = True

    @property
    def begun(self) -> bool:
        """Has it said anything?"""
        return self._begun

    def _say_started(self) -> None:
        with self._mutex:
            if not self._begun and not self._over:
                self._begun = True
                self._out.write(signs.encode(self._started()))

    def _write(self, stream: TextIO, text: str) -> None:
        if os.getpid() != self._pid:  # a process that the task has forked: Scaler's streams have no threads there
            if sys.__stdout__ is not None and not text.startswith(signs.BEGIN):
                sys.__stdout__.write(text)  # the worker's log
                sys.__stdout__.flush()
            return
        with self._mutex:
            if not self._over:
                self._say_started()
                stream.write(text)
