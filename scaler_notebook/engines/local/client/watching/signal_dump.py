"""The stack that a task process dumps by itself when a signal comes (:mod:`~...worker.stack_dump`).

The signal is sent to a process that has such a file in memory and catches the signal: it would be the end of any other.
The process cannot become another between the look and the signal, because the signal goes by a descriptor of it.
"""

import contextlib
import os
import re
import signal
import time
from pathlib import Path

from scaler_notebook.engines.local.worker.stack_dump import NAME, SIGNAL

from .frames import OMITTED, CannotLook, SampledFrame

PATIENCE = 5.0  # seconds for each of two dumps; a process that runs takes a millisecond, on a busy machine a second
PAUSE = 0.001  # seconds between two looks
MOST = 100  # frames that faulthandler tells, the innermost ones
AGAIN = 0.05  # seconds until the signal is sent again
HEADING = b"(most recent call first):"
FRAME = re.compile(r'  File "(.*)", line (\d+) in (.*)')


def main_threads_frames(pid: int) -> list[SampledFrame]:
    """Return the frames of a task process's main thread, the outermost first.

    Raises
    ------
    CannotLook
        The process has ended, is no task process, keeps the signal away, or this system has no such means.
    """
    if not hasattr(signal, "pidfd_send_signal"):
        raise CannotLook("this system has no signals by descriptors")
    try:
        process = os.pidfd_open(pid)
    except OSError as error:
        raise CannotLook(f"its process cannot be reached: {error.strerror}") from None
    try:
        with open(_dump_file(pid), "r+b", buffering=0) as file:
            if not _catches(pid):
                raise CannotLook("its code has taken the signal away by which it would tell")
            file.truncate(0)
            for number in (1, 2):  # the first one is whole when the second has begun
                _wait_for_dumps(process, file.fileno(), number)
            text = _content(file.fileno())
            file.truncate(0)
    except OSError as error:
        raise CannotLook(f"its process cannot be reached: {error.strerror}") from None
    finally:
        os.close(process)
    first = text.split(HEADING)[1].decode("utf-8", "replace")
    frames = [SampledFrame(file, int(line), name) for file, line, name in FRAME.findall(first)]
    return ([OMITTED] if len(frames) >= MOST else []) + frames[::-1]


def _dump_file(pid: int) -> str:
    """Return the path of a process's file for dumps; raises CannotLook if it has none."""
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # one that was closed since
            if os.readlink(path) == f"/memfd:{NAME} (deleted)":
                return str(path)
    raise CannotLook("its process is no task process of this version")


def _catches(pid: int) -> bool:
    """Return whether a process catches the signal: else the signal would end it."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> (SIGNAL - 1) & 1)


def _content(descriptor: int) -> bytes:
    """Return what is in a file in memory."""
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _wait_for_dumps(process: int, file: int, number: int) -> None:
    """Send the signal until a process has begun so many dumps.

    A signal that comes within a dump goes to another thread of the process, if there is one, which does not dump then.

    Parameters
    ----------
    process
        A descriptor of the process.
    file
        A descriptor of the file that the process dumps to.
    number
        How many dumps.

    Raises
    ------
    CannotLook
        There are fewer of them after :data:`PATIENCE`.
    """
    now = due = time.monotonic()
    end = now + PATIENCE
    while _content(file).count(HEADING) < number:
        if now > end:
            raise CannotLook(f"its process has not answered within {PATIENCE:g} s")
        if now >= due:
            signal.pidfd_send_signal(process, SIGNAL)
            due = now + AGAIN
        time.sleep(PAUSE)
        now = time.monotonic()
