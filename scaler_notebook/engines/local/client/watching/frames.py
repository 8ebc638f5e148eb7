"""The frames of a process's main thread, as whatever samples them gives them."""

import os
from typing import NamedTuple

RUNNER = os.path.join("scaler_notebook", "task", "runner.py")  # runs each task, in whichever environment


class SampledFrame(NamedTuple):
    """One frame.

    Parameters
    ----------
    file
        The name of the file, as its code has it.
    line
        The number of the line that runs.
    function
        The function's name.
    """

    file: str
    line: int
    function: str


class CannotLook(RuntimeError):
    """A process cannot be looked at in this way; the message says why."""


def users_frames(frames: list[SampledFrame]) -> list[SampledFrame]:
    """Return the frames without those that lead to the task's own code; the outermost is the first, as before."""
    begin = next((place for place, frame in enumerate(frames) if frame.file.endswith(RUNNER)), None)
    if begin is None:
        return frames
    package = frames[begin].file.removesuffix(RUNNER) + RUNNER.partition(os.sep)[0] + os.sep
    while begin < len(frames) and frames[begin].file.startswith(package):
        begin += 1
    return frames[begin:]
