"""The side effects of the core's decisions: messages to clients, runs and kills of task processes."""

import logging
from collections.abc import Callable, Collection, Sequence

from scaler_notebook.engines.local.ipc.memory.shared_memory import close_segments, duplicate_segments
from scaler_notebook.engines.local.ipc.messages import Input, Taken, VisibleDevices
from scaler_notebook.protocol.exceptions import failures
from scaler_notebook.protocol.messages import ClientContext, EngineMessage, Payload, Task, TaskCancelConfirm, TaskResult

from .core.effects import PrefetchedRun
from .processes import process_tree
from .processes.process_pool import ProcessPool

log = logging.getLogger(__name__)


class EngineEffects:
    """The side effects, on clients and task processes; an exception in one effect ends no other task.

    Implements :class:`~.core.effects.Effects`.

    Parameters
    ----------
    pool
        The task processes.
    standing
        How many processes there are when no slot is lent, spares included.
    """

    post: Callable[[bytes, EngineMessage], None]  # sends a message; set once there is a socket for clients

    def __init__(self, pool: ProcessPool, standing: int) -> None:
        self._pool = pool
        self._standing = standing
        self._extra = 0  # processes for slots that are lent

    def send(self, owner: bytes, message: EngineMessage) -> None:
        """Send a message to a client; one that ends a task gets there, for the task's record is gone by then.

        Parameters
        ----------
        owner
            The client.
        message
            The message.
        """
        try:
            self.post(owner, message)
        except Exception:  # a bug of ours
            if not isinstance(message, TaskResult | TaskCancelConfirm):
                raise
            log.exception("the end of task %s could not be sent, and is sent again", message.task_id)
            self._send_end_again(owner, message)

    def _send_end_again(self, owner: bytes, message: TaskResult | TaskCancelConfirm) -> None:
        """Send the end of a task once more; if that fails too, the task has failed.

        Parameters
        ----------
        owner, message
            As for :meth:`send`.
        """
        try:
            self.post(owner, message)
        except Exception as error:
            log.exception("the end of task %s is lost", message.task_id)
            self.post(owner, failures.internal_failure(message.task_id, error))

    def suits(self, process: int, context: ClientContext | None) -> bool:
        """Return whether a task of a client with these settings and modules can run in a process."""
        return self._pool[process].suits(context)

    def run_task(
        self,
        process: int,
        seq: int,
        task: Task,
        context: ClientContext | None,
        last: bool,
        inputs: tuple[Input, ...],
    ) -> None:
        """Hand a task to an idle process; if that fails, kill the process."""
        try:
            found = self._pool[process]
            found.output.reset()
            found.set_context(context)
            found.run(seq, task, last, inputs)
        except Exception:  # a bug of ours: another process gets the task
            log.exception("a task could not be handed to process %d", process)
            self.kill(process)

    def prefetch(self, process: int, runs: Sequence[PrefetchedRun]) -> None:
        """Hand tasks to a process that still runs another one; if that fails, kill the process."""
        try:
            self._pool[process].prefetch(runs)
        except Exception:  # a bug of ours: another process gets the tasks
            log.exception("tasks could not be prefetched for process %d", process)
            self.kill(process)

    def recall(self, process: int, after: int) -> Collection[int]:
        """Take back the runs after the one with number ``after`` that the process has not begun."""
        return self._pool[process].recall(after)

    def assign_devices(self, process: int, names: tuple[str, ...]) -> None:
        """Have a process that has run nothing yet see these devices, and no others."""
        self._pool[process].send(VisibleDevices(names))

    def interrupt(self, process: int, seq: int) -> None:
        """Ask the run with number ``seq`` of a process to stop."""
        try:
            self._pool[process].interrupt(seq)
        except Exception:  # the core interrupts once more, and kills the process after the grace period
            log.exception("process %d could not be interrupted", process)

    def tell_taken(self, process: int, seq: int, count: int) -> None:
        """Tell a run how many of its items were taken, in all."""
        self._pool[process].send(Taken(seq, count))

    def kill(self, process: int, others: Sequence[int] = ()) -> None:
        """Kill a process and all descendants, and the processes ``others`` with it."""
        try:
            self._pool.kill(process, others)
        except Exception:
            log.exception("process %d could not be killed with all that it started", process)
            process_tree.kill(process)

    def set_standing(self, count: int) -> None:
        """Set how many processes there are when no slot is lent."""
        self._standing = count
        self._pool.resize(count + self._extra)

    def add_processes(self, extra: int) -> None:
        """Set the number of processes in addition to the standing ones."""
        self._extra = extra
        self._pool.resize(self._standing + extra)

    def surplus(self) -> int:
        """Return by how many the processes exceed standing and additional ones; those being killed do not count."""
        return self._pool.surplus

    def cpu_seconds(self, process: int) -> float:
        """Return the seconds of CPU that a process and its descendants have used."""
        return process_tree.cpu_seconds(process)

    def retain_payload(self, payload: Payload) -> Payload:
        """Return a payload with the same content, independent of the process that has sent it."""
        return duplicate_segments(payload)

    def release_payload(self, payload: Payload) -> None:
        """Free a payload that :meth:`retain_payload` gave, or the payload of a result that no client is sent."""
        close_segments(payload)
