"""The scheduler process: one selectors loop between the clients' zmq socket and the task processes' raw sockets.

Started by :mod:`scaler_notebook.engines.local.client.launcher`, which writes one line of configuration to a pipe (here
descriptor 0) and keeps it open: its end is the end of the kernel, and of everything here.
"""

import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from scaler_notebook.engines.local.ipc import fd_limits
from scaler_notebook.engines.local.ipc.memory.shared_memory import duplicated, free, reopened
from scaler_notebook.engines.local.ipc.messages import Ended, Input, Previewed, Taken
from scaler_notebook.engines.local.ipc.runtime_directory import remove
from scaler_notebook.engines.local.ipc.scheduler_config import Config
from scaler_notebook.engines.local.memory_limits import available_memory
from scaler_notebook.protocol.capabilities import as_tuple
from scaler_notebook.protocol.errors import EngineError
from scaler_notebook.protocol.messages import ClientContext, EngineHello, EngineMessage, Payload, Task, TaskProgress
from scaler_notebook.task.task_end import TaskEnd

from .core import Core
from .log_throttle import OftenSaid
from .processes import exit_cause, process_tree
from .processes.exit_cause import Cause
from .processes.fork_server import Starter, best_starter
from .processes.prewarming import Warmth
from .processes.process_pool import CannotStart, Pool

if TYPE_CHECKING:
    from .clients import Clients

TRY_AGAIN = 0.05  # seconds, after a bug of ours
OUTPUT_INTERVAL = 0.05  # seconds between two looks at what running tasks have written
END_PATIENCE = 2.0  # seconds that killed processes get to vanish at the end

log = logging.getLogger(__name__)


class Scheduler:
    """Owns the loop, and lends its hands to :class:`~.core.Core`."""

    def __init__(self, config: Config, starter: Starter) -> None:
        self._config = config
        self._selector = selectors.DefaultSelector()
        self._core = Core(config["slots"], self, config["capabilities"], available_memory(), config["max_runs"])
        self._size = config["slots"] + config["spares"]
        self._pool = Pool(self._size, starter, self._selector, self)
        self._next_look = self._next_memory_look = 0.0
        self._warmth = Warmth()
        self._over = False
        self._reap_due = True  # may a child have ended?
        self._said: set[tuple[object, ...]] = set()  # errors of which a word was said
        self._clients: Clients  # from :meth:`start` on

    # ------------------------------------------------------------------ life

    def start(self) -> tuple[str, str]:
        """Start task processes, open the clients' socket; gives the engine's address, and where its socket is."""
        self._pool.fill()
        # After the fork server and not before: libzmq's threads do not survive a fork.
        from scaler_notebook.engines.local.ipc.transport import Keys, reserve

        from .clients import Clients

        config = self._config
        keys = Keys(**config["keys"]) if config["keys"] is not None else None
        hello = EngineHello(config["slots"], as_tuple(config["capabilities"]))
        self._clients = Clients(self._core, hello, self._selector, config["directory"], keys, config["port"] or 0)
        address = endpoint = self._clients.address
        if config["port"] is not None and keys is None:
            self._port = reserve(config["port"])
            address = f"tcp://127.0.0.1:{self._port.getsockname()[1]}"
        self._pool.home = address
        self._clients.on_shutdown = None if config["protected"] else self._finish
        self._watch_kernel()
        self._watch_signals()
        return address, endpoint

    def _watch_kernel(self) -> None:
        # The pipe alone is not enough: a subprocess of the user's may have inherited its other end.
        self._selector.register(0, selectors.EVENT_READ, self._finish)
        with contextlib.suppress(OSError, AttributeError):
            kernel = os.pidfd_open(self._config["kernel"])
            self._selector.register(kernel, selectors.EVENT_READ, self._finish)
        if os.getppid() != self._config["kernel"]:
            self._finish()

    def _watch_signals(self) -> None:
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
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass
        self._reap_due = True

    def _reap(self) -> None:
        self._pool.reap()
        self._reap_due = False  # not before: who has ended is waited for, and sends no other signal

    def _finish(self) -> None:
        self._over = True

    def run(self) -> None:
        """Serve until the kernel is gone."""
        self._reap_due = True
        while not self._over:
            for key, _ in self._selector.select(self._wait()):
                self._guarded(key.data)
            if self._reap_due or self._pool.vanishing is not None:
                self._guarded(self._reap)
            if self._pool.fill_at is not None:
                self._guarded(self._pool.fill)
            self._guarded(self._core.tick, time.monotonic(), time.time())
            self._guarded(self._look_at_output)
            self._guarded(self._warmth.spread, self._core, self._pool)
            self._guarded(self._clients.exchange)

    def _guarded(self, call: Callable[..., object], *args: object) -> None:
        """Serve one of those that we serve: what goes wrong with that is not the others' trouble. It is said once."""
        try:
            call(*args)
        except CannotStart:
            raise
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            what = type(error).__name__, where.filename, where.lineno
            if what not in self._said:
                self._said.add(what)
                log.exception("a bug of ours, which the scheduler survives")

    def _wait(self) -> float | None:
        try:
            return self._timeout()
        except Exception:
            log.exception("the next moment at which something is due is not known")
            return TRY_AGAIN

    def _timeout(self) -> float | None:
        if self._clients.waiting:
            return 0.0
        due = [d for d in (self._core.next_deadline(), self._warmth.deadline) if d is not None]
        if self._core.running or self._pool.importing:
            due.append(self._next_look)
        if self._pool.fill_at is not None:
            due.append(self._pool.fill_at)
        if self._reap_due:
            due.append(time.monotonic() + TRY_AGAIN)
        if (vanishing := self._pool.vanishing) is not None:
            due.append(time.monotonic() + vanishing)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def end(self) -> None:
        """Kill everything and wait for it."""
        self._pool.kill_all()
        deadline = time.monotonic() + END_PATIENCE
        with contextlib.suppress(ChildProcessError):
            while time.monotonic() < deadline:
                for pid in process_tree.descendants(os.getpid()):  # orphans of earlier tasks are ours too
                    process_tree.kill(pid)
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
                time.sleep(0.001)
        if hasattr(self, "_clients"):  # it has started
            self._clients.close()

    # ------------------------------------------------------------------ the core's hands

    def tell(self, owner: bytes, message: EngineMessage) -> None:
        self._clients.tell(owner, message)

    def suits(self, process: int, context: ClientContext | None) -> bool:
        return self._pool.suits(process, context)

    def run_task(
        self,
        process: int,
        seq: int,
        task: Task,
        context: ClientContext | None,
        last: bool,
        inputs: tuple[Input, ...],
    ) -> None:
        try:
            self._pool.start_output_over(process)
            self._pool.move(process, context)
            self._pool.run(process, seq, task, last, inputs)
        except Exception:  # a bug of ours: another process gets the task
            log.exception("a task could not be handed to process %d", process)
            self.kill(process)

    def interrupt(self, process: int, seq: int) -> None:
        try:
            self._pool.interrupt(process, seq)
        except Exception:  # it is asked again, and killed after the grace period
            log.exception("process %d could not be interrupted", process)

    def kill(self, process: int, others: Sequence[int] = ()) -> None:
        try:
            self._pool.kill(process, others)
        except Exception:
            log.exception("process %d could not be killed with all that it started", process)
            process_tree.kill(process)

    def lend(self, slots: int) -> None:
        self._pool.resize(self._size + slots)

    def surplus(self) -> int:
        return self._pool.surplus

    def retain(self, payload: Payload) -> Payload:
        return duplicated(payload)

    def free(self, payload: Payload) -> None:
        free(payload)

    # ------------------------------------------------------------------ the pool's events

    def ready(self, pid: int) -> None:
        self._warmth.ready(pid)
        self._core.process_ready(pid, time.monotonic(), time.time())

    def ended_run(self, pid: int, ended: Ended) -> None:
        held = self._core.holder(pid)
        if held is None:
            return
        try:
            ended = replace(ended, payload=reopened(ended.payload))
        except OSError as error:
            log.error("the result of process %d could not be taken over: %s", pid, error)
            self._pool.kill(pid, why=f"its result could not be taken over ({error})")  # dead already, most likely
            return
        if ended.payload.buffers:
            self._pool.send(pid, Taken())
        try:
            self._forward_output(pid, over=ended.end is not TaskEnd.STOPPED)  # else it may write on until it is killed
            self._warmth.learn(pid, held[1], ended.modules)
        except Exception:  # a bug of ours: the task has its result all the same
            log.exception("output of process %d may be lost", pid)
        self._core.process_ended_run(pid, ended, time.monotonic(), time.time())

    def previewed(self, pid: int, previewed: Previewed) -> None:
        self._core.process_previewed(pid, previewed.seq, previewed.bundle)

    def died(self, pid: int, cause: Cause, begun: bool) -> None:
        try:
            self._forward_output(pid, over=True)
            self._warmth.died(pid)
        except Exception:
            log.exception("the last output of process %d may be lost", pid)
        how = f"task process {pid} died: {cause.words}"
        try:
            self._core.process_died(pid, how, begun, time.monotonic(), time.time(), cause.death, cause.peak)
        except Exception:
            log.exception("what follows from the death of process %d could not be done in full", pid)
            self._core.give_up(pid, how)

    # ------------------------------------------------------------------ output

    def _look_at_output(self) -> None:
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + OUTPUT_INTERVAL  # whatever comes of this one
            self._pool.drain()
            if now >= self._next_memory_look:
                self._next_memory_look = now + OUTPUT_INTERVAL
                self._look_at_memory()
            for pid in self._core.running:
                if self._core.is_announced(pid):  # a task that says something is known to run
                    self._guarded(self._forward_output, pid)
            self._next_look = now + min(OUTPUT_INTERVAL, self._pool.pace(self._core.running))

    def _look_at_memory(self) -> None:
        for pid, limit in self._core.limited:
            # What is shared with a fork counts once; that takes longer to find out.
            if process_tree.resident(pid) > limit and (size := process_tree.resident(pid, shared_once=True)) > limit:
                self._pool.kill(pid, why=exit_cause.over_limit(size, limit), out_of_memory=True)

    def _forward_output(self, pid: int, over: bool = False) -> None:
        held = self._core.holder(pid)
        if held is None:
            return
        task_id, owner = held
        for message in self._pool.new_output(pid, task_id, over):
            self.tell(owner, message)
        progress = self._pool.new_progress(pid)
        if progress is not None:
            self.tell(owner, TaskProgress(task_id, *progress))


def _begin_with_default_signals() -> None:
    """A mask, and a SIGCHLD that is ignored, are inherited from the kernel; with either no death would be noticed."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def main(config: Config) -> None:
    """Entry point of the scheduler process; never returns."""
    os.umask(0o077)
    fd_limits.set_open_files()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    for handler in logging.root.handlers:
        handler.addFilter(OftenSaid())
    status = 1
    try:
        _begin_with_default_signals()
        starter = best_starter(config["hello"])
        scheduler = Scheduler(config, starter)
        try:
            hello = dict(zip(("address", "endpoint"), scheduler.start(), strict=True))
        except Exception as error:
            hello = {"error": str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"}
            scheduler.end()  # first: who hears of it finds nothing left
            raise
        finally:
            os.write(config["hello"], json.dumps(hello).encode() + b"\n")
        try:
            scheduler.run()
            remove(Path(config["directory"]), config["link"])  # after a crash its log is still wanted
            status = 0
        finally:
            scheduler.end()
    except Exception:
        log.exception("the scheduler ends")
    finally:
        logging.shutdown()
        sys.stderr.flush()
        os._exit(status)
