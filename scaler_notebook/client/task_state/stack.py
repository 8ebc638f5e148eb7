"""The Python stack of a task that runs, sampled from outside."""

import linecache
import time
from collections.abc import Iterable
from dataclasses import dataclass

from scaler_notebook.engines.local.client.watching import stacks
from scaler_notebook.engines.local.client.watching.frames import CannotLook, SampledFrame
from scaler_notebook.task.calls.generator import WAITS

from .observed_task import ObservedTask

PATIENCE = 2.0  # seconds that a task gets to come to its own code: its process has work to do before and after it
PAUSE = 0.01  # seconds between two samples meanwhile
BETWEEN = "between two of its own lines"


@dataclass(frozen=True)
class TaskStack:
    """The stack of a task's main thread at one moment; as text it reads like a traceback.

    Parameters
    ----------
    call
        The call, as a person reads it.
    processor
        The process that runs it.
    frames
        The frames of the task's own code, the outermost first. Empty: its process did something else for two
        seconds, as before and after a call with very large arguments or results; or a generator waits for its reader.
    means
        How they were sampled: ``py-spy`` or ``faulthandler``.
    """

    call: str
    processor: str
    frames: tuple[SampledFrame, ...]
    means: str

    def __str__(self) -> str:
        place = "here (innermost last):" if self.frames else BETWEEN
        return "\n".join([f"{self.call} in process {self.processor} is now {place}", *_frame_lines(self.frames)])

    def __repr__(self) -> str:
        return str(self)


def stack_of(future: ObservedTask) -> TaskStack:
    """Sample the stack of a task, again for a while if nothing of its own code is there yet.

    Raises
    ------
    RuntimeError
        The task does not run, or its process cannot be looked at.
    """
    until = time.monotonic() + PATIENCE
    while not (found := _sample(future)).frames and not _waits_for_reader(future) and time.monotonic() < until:
        time.sleep(PAUSE)
    return found


def _waits_for_reader(future: ObservedTask) -> bool:
    """Return whether a task is a generator that waits, so that no code of its own runs."""
    said = future.progress
    return said is not None and said.note.startswith(WAITS)


def _sample(future: ObservedTask) -> TaskStack:
    """Sample the stack of a task once.

    Raises
    ------
    RuntimeError
        As for :func:`stack_of`.
    """
    pid = process_of(future)
    try:
        frames, means = stacks.sample(pid)
    except CannotLook as problem:
        process_of(future)  # raises if it has ended meanwhile, which is why then
        raise RuntimeError(f"{future.call} runs in process {pid}, which cannot be looked at: {problem}") from None
    if process_of(future) != pid:
        raise RuntimeError(f"the try of {future.call} that was looked at has ended")
    return TaskStack(future.call, str(pid), tuple(frames), means)


def process_of(future: ObservedTask) -> int:
    """Return the process that runs a task.

    Raises
    ------
    RuntimeError
        The task does not run, or not in a process of this machine.
    """
    if future.session is None:
        raise RuntimeError("this future belongs to no executor whose tasks could be looked at")
    return future.session.process_of(future)


def _frame_lines(frames: Iterable[SampledFrame]) -> Iterable[str]:
    """Return the lines that show frames, with their source where this process can find it."""
    for frame in frames:
        yield f'  File "{frame.file}", line {frame.line}, in {frame.function}'
        source = linecache.getline(frame.file, frame.line).strip()
        if source:
            yield f"    {source}"
