"""The host of a kernel: where the user's callbacks run, how a cell waits, and what the stop button does."""

import asyncio
import contextlib
import logging
import math
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, Protocol

from scaler_notebook.client.waiting import asyncio_wait, callback_thread
from scaler_notebook.client.waiting.host import FillingBoard, FutureLike
from scaler_notebook.client.waiting.permission import no_waiting
from scaler_notebook.client.waiting.signal import Signal

from . import ipykernel_compat
from .pump import Pump

log = logging.getLogger(__name__)


class Views(Protocol):
    """The views, as the kernel's host uses them."""

    def widget(self, shown: Any, host: "KernelHost") -> Any:
        """Create a widget that shows a future or a group.

        Parameters
        ----------
        shown
            The future or the group.
        host
            The host of the kernel.
        """

    def open_board(self, title: str, host: "KernelHost") -> Callable[[Any], None]:
        """Display a board without futures in the cell that runs; what is returned adds a future.

        Parameters
        ----------
        title
            The title above the board.
        host
            The host of the kernel.
        """

    def open_group_board(self, title: str, futures: Sequence[Any], host: "KernelHost") -> FillingBoard | None:
        """Display the board of a group that is being submitted, if the cell that runs is going to; else return None.

        Parameters
        ----------
        title
            The title above the board, until the group is complete.
        futures
            Its futures so far.
        host
            The host of the kernel.
        """

    def offer_cancel(self, futures: Sequence[Any], host: "KernelHost") -> None:
        """Show cards of futures whose tasks run on after the stop button, unless the cell shows them already.

        Parameters
        ----------
        futures
            The futures.
        host
            The host of the kernel.
        """


class KernelHost:
    """Implements :class:`scaler_notebook.client.waiting.host.Host` for an ipykernel.

    Parameters
    ----------
    shell
        The kernel's ``InteractiveShell``.
    views
        Creates the widgets and cards.

    Attributes
    ----------
    our_comms
        The comm ids of the widgets of our views: a wait handles their messages.
    hears_since
        When the main thread became free for messages, by ``time.monotonic``; infinity while it is busy.
    """

    waits_at_exit = False
    prints_output = False
    shows_results = True
    takes_whole_modules = False

    def __init__(self, shell: Any, views: Views) -> None:
        self.shell = shell
        self._views = views
        self.kernel = shell.kernel
        self.our_comms: set[str] = set()
        self.hears_since = math.inf
        # ``%%capture`` replaces the shell's publisher; a view that we update later is no output of the captured code.
        self.display_pub = shell.display_pub
        self._posted_calls: deque[Callable[[], object]] = deque()
        self._end_calls: list[tuple[FutureLike, Callable[[], object]]] = []
        self._pump: Pump | None = None
        self._pump_tried = False
        self._stopped = False
        self._stop_pending = False  # the stop button was pressed, and the loop has not cancelled the cell yet
        self._start_pump()

    # ------------------------------------------------------------------ waiting

    def wait(self, signal: Signal, timeout: float | None) -> bool:
        """Wait for a signal. On the main thread, the kernel handles our views' messages meanwhile.

        Parameters
        ----------
        signal
            The signal.
        timeout
            The longest wait, in seconds; None for no limit.

        Returns
        -------
        bool
            Whether the signal is set.
        """
        if threading.current_thread() is not threading.main_thread():
            return asyncio_wait.wait(signal, timeout)
        self._start_pump()
        if self._pump is not None and self._loop_runs():
            before, self.hears_since = self.hears_since, time.monotonic()
            try:
                ended = self._pump.wait(signal, timeout)
            finally:
                self.hears_since = before
            if ended:
                self.run_end_calls()
            return ended
        return signal.block(timeout)  # a nested asyncio loop would break the kernel's

    def release_slot(self) -> contextlib.AbstractContextManager[None]:
        """Release nothing during a wait: a kernel has no slot of an engine."""
        return contextlib.nullcontext()

    def is_cell(self, frame: FrameType) -> bool:
        """Return whether a frame executes a cell."""
        return ipykernel_compat.is_cell(frame)

    def _start_pump(self) -> None:
        """Create the pump, once the loop runs: IPython's configuration may load extensions before that."""
        if self._pump_tried or not self._loop_runs():
            return
        self._pump_tried = True
        try:
            shell = ipykernel_compat.MainShell(self.kernel)
        except ipykernel_compat.UnknownKernel as error:
            warnings.warn(
                f"this kernel's internals are unknown to scaler_notebook ({error}): while a cell waits for a task, "
                "buttons and on_update callbacks are handled only when the cell ends. Everything else works; "
                "ipykernel 6.29 to 7.4 are known.",
                RuntimeWarning,
                stacklevel=2,
            )
        else:
            self._pump = Pump(shell, self.our_comms.__contains__, self._run_posted, lambda: self._stop_pending)

    def _loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the kernel's asyncio loop; None for a kernel that has none."""
        loop: asyncio.AbstractEventLoop | None = getattr(getattr(self.kernel, "io_loop", None), "asyncio_loop", None)
        return loop

    def _loop_runs(self) -> bool:
        """Return whether the kernel's asyncio loop runs."""
        loop = self._loop()
        return loop is not None and loop.is_running()

    # ------------------------------------------------------------------ the user's callbacks

    def post(self, call: Callable[[], object]) -> None:
        """Run ``call`` in the kernel's event loop, or within our wait if a cell is in one: whichever comes first."""
        loop = self._loop()
        if loop is None:
            callback_thread.post(call)
            return
        self._posted_calls.append(call)
        if self._pump is not None:
            self._pump.wake()
        with contextlib.suppress(RuntimeError):  # the loop is closed: the kernel is ending
            loop.call_soon_threadsafe(self._run_posted)

    def call_at_end(self, future: FutureLike, call: Callable[[], object]) -> None:
        """Run ``call`` on the main thread as soon as ``future`` is done, before a wait for the future returns.

        Parameters
        ----------
        future
            The future.
        call
            The call; its exceptions are logged.
        """
        self._end_calls.append((future, call))
        future.add_done_callback(lambda _: self.post(self.run_end_calls))  # if nobody waits for it

    def run_end_calls(self) -> None:
        """Make the calls of the futures that are done, if this is the main thread."""
        if not self._end_calls or threading.current_thread() is not threading.main_thread():
            return
        for entry in [entry for entry in self._end_calls if entry[0].done()]:
            with contextlib.suppress(ValueError):  # an earlier call has called this method, which made this one
                self._end_calls.remove(entry)
                self._call(entry[1])

    def _run_posted(self) -> None:
        """Make the calls that were posted."""
        while self._posted_calls:
            try:
                call = self._posted_calls.popleft()
            except IndexError:
                return
            self._call(call)

    @staticmethod
    def _call(call: Callable[[], object]) -> None:
        """Make a call that must not wait; its exceptions are logged."""
        try:
            with no_waiting():
                call()
        except (Exception, asyncio.CancelledError):
            log.exception("an on_update callback raised; the task is not affected")

    # ------------------------------------------------------------------ views

    @property
    def cell_number(self) -> int | None:
        """The number of the cell that runs, or ran last."""
        # IPython 9 counts a cell before it runs the cell, and earlier ones after that; both note the input before.
        return len(self.shell.history_manager.input_hist_parsed) - 1

    def widget(self, shown: Any) -> Any:
        """Create the widget of a future or a group."""
        return self._views.widget(shown, self)

    def open_board(self, title: str) -> Callable[[Any], None]:
        """Display a board without futures in the cell that runs; what is returned adds a future, on any thread."""
        return self._views.open_board(title, self)

    def open_group_board(self, title: str, futures: Sequence[Any]) -> FillingBoard | None:
        """Display the board of a group that is being submitted, if the cell that runs is going to; else return None.

        Parameters
        ----------
        title
            The title above the board, until the group is complete.
        futures
            Its futures so far.
        """
        in_cell = threading.current_thread() is threading.main_thread()
        return self._views.open_group_board(title, futures, self) if in_cell else None

    def display_in(self, parent: dict[str, Any], data: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """Display a bundle in the cell that a message belongs to, whichever cell runs by now; on any thread.

        Parameters
        ----------
        parent
            The message: the request of the cell.
        data
            The forms of the display, by MIME type.
        metadata
            What front ends are to know about the forms, by MIME type.
        """
        content = {"data": data, "metadata": metadata, "transient": {}}
        publisher = self.display_pub
        publisher.session.send(publisher.pub_socket, "display_data", content, parent=parent, ident=publisher.topic)

    # ------------------------------------------------------------------ the stop button

    def offer_cancel(self, futures: Sequence[Any]) -> None:
        """Show cards of futures whose tasks run on after the stop button."""
        self._views.offer_cancel(futures, self)

    def stopped(self) -> bool:
        """Return whether the stop button was pressed in this cell."""
        return self._stopped

    def on_cell_start(self, info: object = None) -> None:
        """Watch for the stop button in an ``await`` cell too: ipykernel cancels such a cell without saying why."""
        self._stopped = False
        if threading.current_thread() is not threading.main_thread():
            return
        self.hears_since = math.inf
        self.run_end_calls()  # this cell may read the names that an earlier one gives
        self._start_pump()
        before = signal.getsignal(signal.SIGINT)
        if callable(before) and before is not signal.default_int_handler:

            def on_interrupt(number: int, frame: FrameType | None) -> None:
                """Remember the stop button, and pass the signal on to ipykernel."""
                self._stopped = self._stop_pending = True
                before(number, frame)
                # What ipykernel's handler has scheduled takes two rounds of the loop to cancel the cell, and this call
                # is made after both. It wakes the loop, too.
                loop = self.kernel.io_loop.asyncio_loop
                loop.call_soon_threadsafe(loop.call_soon, self._clear_stop_pending)

            signal.signal(signal.SIGINT, on_interrupt)  # ipykernel puts back what was there before the cell

    def _clear_stop_pending(self) -> None:
        """Note that the loop has cancelled the cell whose stop button was pressed."""
        self._stop_pending = False

    def on_cell_end(self, result: object) -> None:
        """Forget the stop button: a cancel between two cells is one by the user's code."""
        self._stopped = False
        if threading.current_thread() is threading.main_thread():
            self.hears_since = time.monotonic()


_kernel_host: KernelHost | None = None


def kernel_host() -> KernelHost | None:
    """Return the host of this kernel; None outside a kernel."""
    return _kernel_host


def register(host: KernelHost) -> None:
    """Make ``host`` the one that :func:`kernel_host` returns in this process."""
    global _kernel_host
    _kernel_host = host
