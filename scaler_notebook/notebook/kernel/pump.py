"""A blocking wait on the kernel's main thread during which the notebook lives.

Handled are messages of our own widgets and of the widget manager (``jupyter.widget.control``: a page that reloads), and
requests for information. Nothing else is: other people's callbacks do not expect to run in the middle of a cell, and
queued cells keep their place.
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
MAX_DEFERRED_INTERRUPTS = 3  # after so many interrupts of one wait, an exception is raised even amid a message


class Pump:
    """Waits for a signal while it handles messages. Only on the main thread; waits may nest.

    Parameters
    ----------
    shell
        The requests to the kernel's main thread.
    is_ours
        Tells by a comm id whether the comm belongs to a view of ours.
    run_posted
        Runs the calls that were posted to the kernel's event loop, which cannot run them while we wait.
    stop_pending
        Tells whether the stop button was pressed and the loop, which does not run while we wait, is yet to stop the
        cell.
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
        self._loop_idle = False  # the outermost wait is in a callback of the loop, with no request under way

    def wake(self) -> None:
        """Have the wait check its condition again; on any thread, any number of times."""
        with contextlib.suppress(OSError):  # the buffer is full: the wait will wake anyhow
            self._wake_sender.send(b"!")

    def wait(self, condition: Signal, timeout: float | None) -> bool:
        """Wait until ``condition`` is set.

        Parameters
        ----------
        condition
            The signal to wait for.
        timeout
            The longest wait, in seconds; None for no limit.

        Returns
        -------
        bool
            Whether the signal is set.

        Raises
        ------
        KeyboardInterrupt
            The stop button was pressed.
        asyncio.CancelledError
            The stop button was pressed while a callback of the loop waits: a KeyboardInterrupt would end the loop.
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
        """Let the stop button end the wait between two messages, never in the middle of one."""
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
        if pressed:  # after the condition was set, before the former handler was back
            raise _interrupt_exception()

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        """Count an interrupt, and raise an exception if the user's code runs or the wait does not react.

        Parameters
        ----------
        number, frame
            As for every handler of :func:`signal.signal`.
        """
        self._interrupts += 1
        self.wake()
        if self._in_user_code or self._interrupts >= MAX_DEFERRED_INTERRUPTS:
            raise _interrupt_exception()

    def _run_user_code(self) -> None:
        """Run the calls that were posted; an interrupt reaches them."""
        self._in_user_code = True
        try:
            self._run_posted()
        finally:
            self._in_user_code = False

    def _handle_if_wanted(self, raw: RawMessage) -> bool:
        """Handle a message if it may be handled during a wait; returns whether it was."""
        peeked = self._shell.peek(raw)
        if peeked is None or not self._is_wanted(*peeked):
            return False
        with no_waiting():
            self._shell.handle(raw, busy=not self._loop_idle)
        return True

    def _is_wanted(self, kind: str, content: dict[str, Any]) -> bool:
        """Return whether a message may be handled during a wait.

        Parameters
        ----------
        kind
            The type of the message.
        content
            The content of the message, not checked yet.
        """
        match kind:
            case "comm_open":
                return bool(content.get("target_name") == CONTROL_TARGET)
            case "comm_msg" | "comm_close":
                comm_id = str(content.get("comm_id"))
                return self._is_ours(comm_id) or _comm_target(comm_id) == CONTROL_TARGET
        return kind in INFO_REQUESTS


def _comm_target(comm_id: str) -> str | None:
    """Return the target name of an open comm; None if there is no such comm."""
    import comm

    known = getattr(comm.get_comm_manager(), "comms", {}).get(comm_id)
    return getattr(known, "target_name", None)


def _interrupt_exception() -> BaseException:
    """Create the exception that an interrupt raises here: one that the frames below survive."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not survives_interrupt(frame):
        if frame.f_code is asyncio.Handle._run.__code__:
            return asyncio.CancelledError("interrupted")
        frame = frame.f_back
    return KeyboardInterrupt()
