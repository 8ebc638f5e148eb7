"""The kernel as a host: where the user's callbacks run, and how a cell waits."""

import contextlib
import logging
import threading
import warnings
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

from ..client import waiting
from .kernel_internals import MainShell, UnknownKernel
from .pump import Pump

log = logging.getLogger(__name__)


class KernelHost:
    """Implements :class:`scaler_notebook.client.waiting.Host` for an ipykernel.

    Parameters
    ----------
    shell
        The kernel's ``InteractiveShell``.
    """

    waits_at_exit = False

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.kernel = shell.kernel
        self.our_comms: set[str] = set()
        # A capture swaps the shell's publisher for its own; what we update later is no output of the captured code.
        self.display_pub = shell.display_pub
        self._posted: deque[Callable[[], object]] = deque()
        self._pump: Pump | None = None
        try:
            self._pump = Pump(MainShell(self.kernel), self.our_comms.__contains__, self._run_posted)
        except UnknownKernel as error:
            warnings.warn(
                f"this kernel's internals are unknown to scaler_notebook ({error}): while a cell waits for a task, "
                "buttons and on_update callbacks are handled only when the cell ends. Everything else works; "
                "ipykernel 6.29 to 7.4 are known.",
                RuntimeWarning,
                stacklevel=2,
            )

    def wait(self, signal: waiting.Signal, timeout: float | None) -> bool:
        if self._pump is not None and threading.current_thread() is threading.main_thread():
            return self._pump.wait(signal, timeout)
        return signal.block(timeout)

    def is_cell(self, frame: FrameType) -> bool:
        return frame.f_code.co_name == "run_code" and frame.f_globals.get("__name__") == "IPython.core.interactiveshell"

    def post(self, call: Callable[[], object]) -> None:
        """Run ``call`` in the kernel's event loop, or within our wait if a cell sits in one: whichever is first."""
        self._posted.append(call)
        if self._pump is not None:
            self._pump.wake()
        with contextlib.suppress(RuntimeError):  # the loop is closed: the kernel is ending
            self.kernel.io_loop.asyncio_loop.call_soon_threadsafe(self._run_posted)

    def _run_posted(self) -> None:
        while self._posted:
            try:
                call = self._posted.popleft()
            except IndexError:
                return
            try:
                with waiting.no_waiting():
                    call()
            except Exception:
                log.exception("an on_update callback raised; the task is not affected")


_kernel_host: KernelHost | None = None


def kernel_host() -> KernelHost | None:
    """The host of this kernel; None outside a kernel."""
    return _kernel_host


def activate(shell: Any) -> KernelHost:
    """Make this process a kernel's: waits keep it alive, futures are displayed as cards. Idempotent."""
    global _kernel_host
    if _kernel_host is None:
        _kernel_host = KernelHost(shell)
        waiting.install_host(_kernel_host)
        _register_views(shell)
    return _kernel_host


def _register_views(shell: Any) -> None:
    from ..client.future import ScalerFuture
    from . import display

    formatter = shell.display_formatter.ipython_display_formatter
    formatter.for_type(ScalerFuture, display.show)
    # These two fire for cells alone, and did they fire more often, it would do no harm.
    shell.events.register("pre_run_cell", display.cell_begins)
    shell.events.register("post_run_cell", display.cell_ends)
