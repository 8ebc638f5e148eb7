"""The side effects of the core's decisions: messages to clients, runs and kills of task processes."""

import logging
from collections.abc import Callable, Sequence

from scaler_notebook.engines.local.ipc.memory.shared_memory import duplicated, free
from scaler_notebook.engines.local.ipc.messages import Input
from scaler_notebook.protocol.messages import ClientContext, EngineMessage, Payload, Task

from .processes import process_tree
from .processes.process_pool import ProcessPool

log = logging.getLogger(__name__)


class EngineEffects:
    """Implements :class:`~.core.effects.Effects`: a bug of ours in one effect ends no other task.

    Parameters
    ----------
    pool
        The task processes.
    size
        How many processes there are when no slot is lent, spares included.
    """

    send: Callable[[bytes, EngineMessage], None]  # set once there is a socket for clients

    def __init__(self, pool: ProcessPool, size: int) -> None:
        self._pool = pool
        self._size = size

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

    def add_processes(self, extra: int) -> None:
        self._pool.resize(self._size + extra)

    def surplus(self) -> int:
        return self._pool.surplus

    def retain(self, payload: Payload) -> Payload:
        return duplicated(payload)

    def free(self, payload: Payload) -> None:
        free(payload)
