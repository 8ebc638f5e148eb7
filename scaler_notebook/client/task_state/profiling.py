"""The figures of a task, as :meth:`~scaler_notebook.client.futures.future.ScalerFuture.profiling_info` returns them."""

from scaler_notebook.client.waiting.locks import call_locked
from scaler_notebook.protocol.frozen import frozen
from scaler_notebook.protocol.messages import TaskFigures

from .observed_task import ObservedTask


@frozen
class ProfileResult:
    """The figures of a task's last try. Names are OpenGRIS Scaler's where it has one.

    Parameters
    ----------
    duration_s
        Seconds from the task's start to its end; of a task that was stopped, until that was confirmed.
    memory_peak
        Bytes: the most resident memory that the task's process had while the task ran, the interpreter, its modules and
        mapped arguments included, subprocesses not. Where the system cannot begin the count anew for each task (it can
        on Linux), an upper bound: the peak of all tasks of that process. None if the process could not tell.
    cpu_time_s
        CPU seconds of the task's process, all threads, and of subprocesses that it has waited for. None if the process
        could not tell.
    queue_s
        Seconds from the submission to the start of this try, earlier tries and the pauses between them included.
    argument_bytes
        Size of the pickled arguments, their large buffers included, whether these were copied or shared. None if they
        are gone.
    result_bytes
        Size of the pickled value, or exception, that came back; 0 if none did.
    processor
        The process that ran the task.
    tries
        How often the task was started.
    """

    duration_s: float
    memory_peak: int | None
    cpu_time_s: float | None
    queue_s: float
    argument_bytes: int | None
    result_bytes: int
    processor: str
    tries: int

    @property
    def peak_memory(self) -> int | None:
        """The peak of resident memory in bytes: the same as ``memory_peak``."""
        return self.memory_peak


def _figures(future: ObservedTask) -> tuple[TaskFigures, float | None, float | None]:
    """Return the figures, the start and the end of a task that has ended; with the future's lock."""
    if not future.done():
        raise ValueError(f"{future.call or future.task_id} is {future.state.value}: its figures come with its end")
    return future.figures, future.started_at, future.ended_at


def profile(future: ObservedTask) -> ProfileResult:
    """Return the figures of a task that has ended.

    Raises
    ------
    ValueError
        The task has not ended yet, or it never ran.
    """
    figures, started, ended = call_locked(future._lock, _figures, future)  # the end of a task is more than one store
    if started is None or ended is None:
        raise ValueError(f"{future.call or future.task_id} never ran, as far as is known here: there are no figures")
    if figures.started:  # measured by the process; the other times are those of messages
        started, ended = figures.started, figures.ended
    return ProfileResult(
        duration_s=max(0.0, ended - started),
        memory_peak=figures.peak_rss or None,
        cpu_time_s=figures.cpu if figures.cpu >= 0 else None,
        queue_s=max(0.0, started - future.submitted_at),
        argument_bytes=future.task.arguments.nbytes if future.task is not None else None,
        result_bytes=future.bytes_received,
        processor=future.processor,
        tries=future.tries,
    )
