"""The stack of a task process, by the first means that gives it."""

from collections.abc import Callable

from . import py_spy, signal_dump
from .frames import CannotLook, SampledFrame, users_frames

MEANS: dict[str, Callable[[int], list[SampledFrame]]] = {
    "py-spy": py_spy.main_threads_frames,  # does not even interrupt a system call
    "faulthandler": signal_dump.main_threads_frames,
}


def sample(pid: int) -> tuple[list[SampledFrame], str]:
    """Sample the stack of a task process.

    Parameters
    ----------
    pid
        The process.

    Returns
    -------
    tuple[list[SampledFrame], str]
        The frames of the task's own code in the main thread, the outermost first, and the means.

    Raises
    ------
    CannotLook
        There is no means; the message says why for each.
    """
    problems = []
    for name, frames_of in MEANS.items():
        try:
            return users_frames(frames_of(pid)), name
        except CannotLook as problem:
            problems.append(f"{name}: {problem}")
    raise CannotLook("; ".join(problems))
