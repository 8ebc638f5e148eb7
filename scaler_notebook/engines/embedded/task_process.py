"""The process that runs tasks, one at a time, on its main thread."""

import importlib
import os
import random
import resource
import signal
import socket
import sys
import time
import types
from contextlib import suppress
from pathlib import Path

from ...protocol import failures, payloads
from ...protocol.errors import ProtocolError, TaskSerializationError
from ...protocol.messages import Payload, TaskFigures
from .inner import INNER_CODEC, End, Ended, Ready, Run
from .interrupts import AskPage, Interrupts
from .stream import Assembler, send_blocking

OWN_FILES = (str(Path(__file__).parents[2]),)
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # getrusage's ru_maxrss: bytes there, kilobytes elsewhere


def main(sock: socket.socket, page_fd: int) -> None:
    """Serve runs until the scheduler goes away; never returns.

    Parameters
    ----------
    sock
        A blocking stream socket to the scheduler.
    page_fd
        The shared page of :class:`~.interrupts.AskPage`; closed here once mapped.
    """
    status = 1
    try:
        page = AskPage(page_fd)
        os.close(page_fd)
        _settle_in()
        _Server(sock, Interrupts(page)).serve()
        status = 0
    except (ConnectionError, ProtocolError):
        pass  # the scheduler is gone, or we are of no use to it: either way it sees our end
    finally:
        os._exit(status)  # no atexit handler and no thread of a task may keep us


def _settle_in() -> None:
    """Be nobody's copy: an own random state, an own ``__main__``, line-buffered output."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    # Whatever pickles by reference to __main__ must fail to be found here, not find our start-up module.
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    with suppress(Exception):  # C's printf is fully buffered on a file; by line, its text is there while the task runs
        import ctypes

        libc = ctypes.CDLL(None)
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, 1, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    importlib.invalidate_caches()


class _Server:
    def __init__(self, sock: socket.socket, interrupts: Interrupts) -> None:
        self._sock = sock
        self._interrupts = interrupts

    def serve(self) -> None:
        self._interrupts.install()
        send_blocking(self._sock, INNER_CODEC.encode([Ready(os.getpid())]))
        assembler = Assembler()
        while assembler.read(self._sock):
            for frames in assembler.batches():
                for message in INNER_CODEC.decode(frames):
                    if isinstance(message, Run):
                        self._run(message)

    def _run(self, run: Run) -> None:
        self._interrupts.install()
        started, cpu = time.time(), time.process_time()
        end, payload = self._interrupts.run(
            run.seq,
            body=lambda: (End.SUCCESS, _call(run)),
            stopped=lambda: (End.STOPPED, Payload(b"")),
            failed=lambda error: (End.FAILED, payloads.dump(failures.describe(error, OWN_FILES))),
        )
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # the task may have closed or replaced it
                stream.flush()
        figures = TaskFigures(
            started,
            time.time(),
            time.process_time() - cpu,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT,
        )
        send_blocking(self._sock, INNER_CODEC.encode([Ended(run.seq, end, payload, figures)]))


def _call(run: Run) -> Payload:
    """Unpickling and pickling run the user's code too: they are part of the task, and can be interrupted."""
    function = payloads.load(run.function)
    args, kwargs = payloads.load(run.arguments)
    value = function(*args, **kwargs)
    try:
        return payloads.dump(value)
    except Exception as error:
        name = getattr(function, "__qualname__", repr(function))
        raise _unpicklable(name, value, error) from error


def _unpicklable(name: str, value: object, error: Exception) -> TaskSerializationError:
    return payloads.serialization_error(f"the result of {name}", value, error)
