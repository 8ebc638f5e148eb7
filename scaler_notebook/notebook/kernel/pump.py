"""A blocking wait on the kernel's main thread during which the notebook lives.

What is handled: messages of our own widgets, of the widget manager (``jupyter.widget.control``: a page that reloads),
and requests for information. Nothing else: other people's callbacks expect no cell half-way, and queued cells keep
their place.
"""

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import zmq

from scaler_notebook.client.waiting.permission import no_waiting
from scaler_notebook.client.waiting.signal import SLICE, Signal

from .ipykernel_compat import MainShell, RawMessage, survives_interrupt

INFO_REQUESTS = {"kernel_info_request", "comm_info_request"}
CONTROL_TARGET = "jupyter.widget.control"
MAX_DEFERRED_INTERRUPTS = 3  # interrupts after which it is raised wherever we are


class Pump:
    """Waits for a signal while it handles messages. Only on the main thread; nests.

    Parameters
    ----------
    shell
        Where requests come from.
    is_ours
        Tells by its comm id whether a comm belongs to a view of ours.
    run_posted
        Runs what was posted to the kernel's event loop, which cannot run it while we wait.
    stop_pending
        Tells whether the loop is about to stop the cell, which it cannot either.
    """

    def __init__(
        self,
        shell: MainShell,
        is_ours: Callable[[str], bool],
        run_posted: Callable[[], None],
        stop_pending: Callable[[], bool],
    ) -> None:
        self._shell = shell
        self._is_ours = is_ours
        self._run_posted = run_posted
        self._stop_pending = stop_pending
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._wake_sender.setblocking(False)
        self._poller = zmq.Poller()
        self._poller.register(shell.socket, zmq.POLLIN)
        self._poller.register(self._wake_receiver, zmq.POLLIN)
        self._interrupts = 0
        self._in_user_code = False
        self._loop_idle = False  # does the outermost wait sit in a callback of the loop, with no request under way?

    def wake(self) -> None:
        """Have the wait look again; any thread, any number of times."""
        with contextlib.suppress(OSError):  # full: it will wake anyhow
            self._wake_sender.send(b"!")

    def wait(self, condition: Signal, timeout: float | None) -> bool:
        """Wait until ``condition`` is set; False after ``timeout`` seconds.

        Raises
        ------
        KeyboardInterrupt
            The stop button; in a callback of the loop, which would not survive it, ``asyncio.CancelledError``.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        condition.wake_by(self.wake)
        with self._interruptible():
            while not self._interrupts:
                with contextlib.suppress(BlockingIOError):
                    while self._wake_receiver.recv(4096):
                        pass
                self._run_user_code()
                self._shell.receive(self._handle_if_wanted)
                if condition.is_set():
                    return True
                remaining = SLICE if deadline is None else min(SLICE, deadline - time.monotonic())
                if remaining <= 0:
                    return False
                self._poller.poll(int(remaining * 1000) + 1)
            raise _interrupt_exception()

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """The stop button ends the wait between two messages, never in the middle of one."""
        before = signal.signal(signal.SIGINT, self._on_interrupt)
        outer = self._interrupts, self._in_user_code, self._loop_idle
        self._interrupts, self._in_user_code = int(self._stop_pending()), False
        # A kernel ignores SIGINT between two requests.
        self._loop_idle = self._loop_idle or before is signal.SIG_IGN
        try:
            yield
        finally:
            pressed = self._interrupts
            self._interrupts, self._in_user_code, self._loop_idle = outer
            signal.signal(signal.SIGINT, before)
            self._shell.resume_reading()
        if pressed:  # just as the wait ended
            raise _interrupt_exception()

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += 1
        self.wake()
        if self._in_user_code or self._interrupts >= MAX_DEFERRED_INTERRUPTS:
            raise _interrupt_exception()

    def _run_user_code(self) -> None:
        self._in_user_code = True
        try:
            self._run_posted()
        finally:
            self._in_user_code = False

    def _handle_if_wanted(self, raw: RawMessage) -> bool:
        peeked = self._shell.peek(raw)
        if peeked is None or not self._is_wanted(*peeked):
            return False
        with no_waiting():
            self._shell.handle(raw, busy=not self._loop_idle)
        return True

    def _is_wanted(self, kind: str, content: dict[str, Any]) -> bool:
        match kind:
            case "comm_open":
                return bool(content.get("target_name") == CONTROL_TARGET)
            case "comm_msg" | "comm_close":
                comm_id = str(content.get("comm_id"))
                return self._is_ours(comm_id) or _comm_target(comm_id) == CONTROL_TARGET
        return kind in INFO_REQUESTS


def _comm_target(comm_id: str) -> str | None:
    import comm

    known = getattr(comm.get_comm_manager(), "comms", {}).get(comm_id)
    return getattr(known, "target_name", None)


def _interrupt_exception() -> BaseException:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not survives_interrupt(frame):
        if frame.f_code is asyncio.Handle._run.__code__:
            return asyncio.CancelledError("interrupted")
        frame = frame.f_back
    return KeyboardInterrupt()
