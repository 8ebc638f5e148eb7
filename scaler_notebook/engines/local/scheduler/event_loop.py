"""The scheduler's loop: messages of clients and task processes, timers, and the end of the kernel."""

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from typing import TYPE_CHECKING

from scaler_notebook.engines.local.ipc.memory.burst import BurstMemory
from scaler_notebook.engines.local.ipc.scheduler_config import Config
from scaler_notebook.engines.local.resource_limits import available_memory
from scaler_notebook.protocol.capabilities import as_tuple
from scaler_notebook.protocol.messages import EngineHello

from .core.core import Core
from .engine_effects import EngineEffects
from .error_boundary import ErrorBoundary
from .output_forwarder import OutputForwarder
from .process_events import ProcessEvents
from .processes import process_tree
from .processes.fork_server import Starter
from .processes.prewarming import Prewarming
from .processes.process_pool import ProcessPool

if TYPE_CHECKING:
    from .clients import Clients

RETRY_DELAY = 0.05  # seconds between two iterations after an exception that is a bug of ours
SHORTEST_PAUSE, LONGEST_PAUSE = 0.0003, 0.0015  # seconds that the results of brief tasks wait for each other
END_PATIENCE = 2.0  # seconds that killed processes may take to be gone, at the end
KERNEL_INTERVAL = 1.0  # seconds between two looks for the kernel, where nothing tells of its end

log = logging.getLogger(__name__)


class EventLoop:
    """Serves clients and task processes until the kernel is gone.

    Parameters
    ----------
    config
        The configuration that the client has sent.
    starter
        How task processes are started.
    """

    def __init__(self, config: Config, starter: Starter) -> None:
        self._config = config
        self._selector = selectors.DefaultSelector()
        self._boundary = ErrorBoundary()
        size = config["slots"] + config["spares"]
        self._pool = ProcessPool(size, starter, self._selector)
        self._effects = EngineEffects(self._pool, size)
        self._core = Core(
            config["slots"],
            self._effects,
            config["capabilities"],
            available_memory(),
            config["max_runs"],
            devices=tuple(config["gpus"]),
            spares=config["spares"],
            idle_timeout=config["idle_timeout"],
        )
        self._prewarming = Prewarming()
        self._memory = BurstMemory()
        self._over = False
        self._kernel_look_at: float | None = None  # when to look for the kernel, where nothing tells of its end
        self._reap_due = True  # may a child have ended?
        self._clients: Clients  # from :meth:`start` on
        self._output: OutputForwarder  # likewise

    # ------------------------------------------------------------------ start and end

    def start(self) -> tuple[str, str]:
        """Start task processes, and open the clients' socket.

        Returns
        -------
        tuple of str and str
            The engine's address, and the address of the socket.
        """
        self._pool.fill()
        # After the fork server and not before: threads of ZeroMQ, where it is needed, do not survive a fork.
        from scaler_notebook.engines.local.ipc.transport import Keys, reserve_port

        from .clients import Clients

        config = self._config
        keys = Keys(**config["keys"]) if config["keys"] is not None else None
        hello = EngineHello(config["slots"], as_tuple(config["capabilities"]), gpus=tuple(config["gpus"]))
        self._clients = Clients(self._core, hello, self._selector, config["directory"], keys, config["port"] or 0)
        self._clients.catch_up = self._pool.catch_up
        self._effects.post = self._clients.send
        self._output = OutputForwarder(self._core, self._pool, self._boundary, self._clients.send)
        self._pool.events = ProcessEvents(self._core, self._pool, self._output, self._prewarming)
        address = endpoint = self._clients.address
        if config["port"] is not None and keys is None:
            self._port = reserve_port(config["port"])
            address = f"tcp://127.0.0.1:{self._port.getsockname()[1]}"
        self._pool.home = address
        self._clients.on_shutdown = None if config["protected"] else self._finish
        self._watch_kernel()
        self._watch_signals()
        return address, endpoint

    def _watch_kernel(self) -> None:
        """Stop the loop when the kernel ends."""
        # The lifeline alone is not enough: a subprocess of the user's may have inherited the other end.
        self._selector.register(0, selectors.EVENT_READ, self._finish)
        try:
            kernel = os.pidfd_open(self._config["kernel"])
            self._selector.register(kernel, selectors.EVENT_READ, self._finish)
        except (OSError, AttributeError):  # no such descriptors here, or none left
            self._kernel_look_at = time.monotonic()
        self._look_for_kernel()

    def _look_for_kernel(self) -> None:
        """Stop the loop if the kernel, which has started this process, is gone."""
        if os.getppid() != self._config["kernel"]:
            self._finish()
        if self._kernel_look_at is not None:
            self._kernel_look_at = time.monotonic() + KERNEL_INTERVAL

    def _watch_signals(self) -> None:
        """Wake the loop at SIGCHLD, stop it at SIGTERM, and ignore SIGINT."""
        self._woken, wake = socket.socketpair()
        self._woken.setblocking(False)
        wake.setblocking(False)
        self._wake = wake
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self._finish())
        self._selector.register(self._woken, selectors.EVENT_READ, self._signalled)

    def _signalled(self) -> None:
        """Empty the socket that signals write to, and reap in this iteration."""
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass
        self._reap_due = True

    def _finish(self) -> None:
        """Stop the loop after this iteration."""
        self._over = True

    def end(self) -> None:
        """Kill every process, and wait until all are gone."""
        self._pool.kill_all()
        deadline = time.monotonic() + END_PATIENCE
        with contextlib.suppress(ChildProcessError):
            while time.monotonic() < deadline:
                for pid in process_tree.descendants(os.getpid()):  # orphans of earlier tasks included
                    process_tree.kill(pid)
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
                time.sleep(0.001)
        if hasattr(self, "_clients"):  # the loop has started
            self._clients.close()

    # ------------------------------------------------------------------ the loop

    def run(self) -> None:
        """Serve until the kernel is gone."""
        call = self._boundary.call
        self._reap_due = True
        while not self._over:
            call(self._pause)
            call(self._serve, self._selector.select(self._wait()))
            if self._reap_due or self._pool.vanishing is not None:
                call(self._reap)
            if self._pool.fill_at is not None:
                call(self._pool.fill)
            if self._pool.read_again_at is not None:
                call(self._pool.read_again)
            call(self._core.tick)
            call(self._output.look)
            call(self._prewarming.prewarm_idle, self._core, self._pool)
            call(self._clients.check_processes)
            call(self._clients.exchange)
            call(self._memory.look, self._core.overview.count)
            if self._kernel_look_at is not None and self._kernel_look_at <= time.monotonic():
                call(self._look_for_kernel)
        call(self._clients.flush)

    def _pause(self) -> None:
        """Look at nothing for a moment, as long as every slot has brief tasks ahead of it.

        Each result would wake this process, and take a core from a task. So many results are found at one look, and a
        task's beginning or a client's request is found a moment later, which neither can see.
        """
        pause = min(self._core.slack / 2, LONGEST_PAUSE)
        if pause >= SHORTEST_PAUSE:
            time.sleep(pause)

    def _serve(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        """Handle what has come from clients and processes."""
        with self._core.batch():
            for key, _ in ready:
                self._boundary.call(key.data)

    def _reap(self) -> None:
        """Reap processes that have ended."""
        self._pool.reap()
        self._reap_due = False  # only now: after an exception the reaping is repeated, as no other signal will come

    def _wait(self) -> float | None:
        """Return the seconds to wait for; an exception in one part is no reason to stop."""
        try:
            return self._timeout()
        except Exception:
            log.exception("the next moment at which something is due is not known")
            return RETRY_DELAY

    def _timeout(self) -> float | None:
        """Return the seconds until something is due; None if nothing is."""
        if self._clients.has_more:
            return 0.0
        now = time.monotonic()
        due = [
            self._core.next_deadline(),
            self._prewarming.deadline,
            self._output.deadline,
            self._pool.fill_at,
            self._pool.read_again_at,
            self._clients.deadline,
            self._memory.deadline,
            self._kernel_look_at,
            now + RETRY_DELAY if self._reap_due else None,
        ]
        if (vanishing := self._pool.vanishing) is not None:
            due.append(now + vanishing)
        earliest = min((each for each in due if each is not None), default=None)
        return max(0.0, earliest - now) if earliest is not None else None
