"""The messages and the ends of task processes, passed on to the core."""

import logging

from scaler_notebook.engines.local.ipc.memory.shared_memory import check_segments, close_segments
from scaler_notebook.engines.local.ipc.messages import Item, Paused, ResultPreview, RunFinished
from scaler_notebook.task.task_end import TaskEnd

from .core.core import Core
from .output_forwarder import OutputForwarder
from .processes.exit_cause import ExitCause
from .processes.prewarming import Prewarming
from .processes.process_pool import ProcessPool

log = logging.getLogger(__name__)


class ProcessEvents:
    """Handles what task processes send, and their ends.

    Implements :class:`~.processes.process_pool.PoolEvents`.

    Parameters
    ----------
    core
        Decides what follows.
    pool
        The task processes.
    output
        Forwards the last output of a task before the result.
    prewarming
        Records what runs have imported.
    """

    def __init__(self, core: Core, pool: ProcessPool, output: OutputForwarder, prewarming: Prewarming) -> None:
        self._core, self._pool, self._output, self._prewarming = core, pool, output, prewarming

    def ready(self, pid: int) -> None:
        """Handle that a process can take tasks."""
        self._prewarming.ready(pid)
        self._core.process_ready(pid)

    def ended_run(self, pid: int, ended: RunFinished) -> None:
        """Handle the end of a run; the segments of the run's result have come with the message."""
        held = self._core.overview.holder(pid)
        if held is None:
            close_segments(ended.payload)
            return
        try:
            if ended.payload.buffers:
                check_segments(ended.payload)
        except OSError as error:
            close_segments(ended.payload)
            log.error("the result of process %d could not be taken over: %s", pid, error)
            self._pool.kill(
                pid, why=f"its result could not be taken over ({error})"
            )  # most likely the process has died
            return
        try:
            if ended.waits or not self._core.overview.has_more(pid):  # else what is there may be the next run's
                # A stopped task may write on until its kill.
                self._output.forward(pid, over=ended.end is not TaskEnd.STOPPED)
            # What tasks with devices import, no process imports ahead: it would have to be one with devices.
            self._prewarming.learn(pid, held[1], () if self._core.overview.has_devices(pid) else ended.modules)
        except Exception:  # a bug of ours: the result is sent all the same
            log.exception("output of process %d may be lost", pid)
        if ended.waits and not ended.is_last:
            self._pool[pid].end_handled(ended.seq)
        self._core.process_ended_run(pid, ended)

    def previewed(self, pid: int, previewed: ResultPreview) -> None:
        """Handle the preview of a result that a process has made."""
        self._core.process_previewed(pid, previewed.seq, previewed.bundle)

    def gave(self, pid: int, item: Item) -> None:
        """Handle an item of a run."""
        self._core.process_gave_item(pid, item.seq, item.value)

    def paused(self, pid: int, paused: Paused) -> None:
        """Handle that a run waits until more of its items are taken."""
        self._core.process_paused(pid, paused.seq, paused.taken)

    def died(self, pid: int, cause: ExitCause, begun: int) -> None:
        """Handle that a process is reaped, and that all which it had started is gone."""
        try:
            self._output.forward(pid, over=True)
            self._prewarming.died(pid)
        except Exception:
            log.exception("the last output of process %d may be lost", pid)
        how = f"task process {pid} died: {cause.words}"
        try:
            self._core.process_died(pid, how, begun == self._core.overview.seq(pid), cause.death, cause.peak)
        except Exception:
            log.exception("what follows from the death of process %d could not be done in full", pid)
            self._core.give_up(pid, how)
