"""The frames of a process's main thread, as whatever samples them gives them."""

import os
import sysconfig
from typing import NamedTuple

PACKAGE = f"scaler_notebook{os.sep}"
RUNNER = os.path.join(PACKAGE, "task", "runner.py")  # runs each task, in whichever environment
STANDARD_LIBRARY = sysconfig.get_path("stdlib") + os.sep
IMPORT_SYSTEM = "<frozen importlib"
INSTALLED = f"{os.sep}site-packages{os.sep}"  # below the folder of the standard library, and no part of that


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
    """Return the frames without those that lead to the task's own code; the outermost is the first, as before.

    Before its call a process imports modules and unpickles values for it: code of theirs is the task's own, too.
    """
    begin = next((place for place, frame in enumerate(frames) if frame.file.endswith(RUNNER)), None)
    if begin is None:
        return frames[next((place for place, frame in enumerate(frames) if not _is_known(frame)), len(frames)) :]
    while begin < len(frames) and (_is_ours(frames[begin]) or frames[begin].file.startswith(IMPORT_SYSTEM)):
        begin += 1
    return frames[begin:]


def _is_ours(frame: SampledFrame) -> bool:
    return f"{os.sep}{PACKAGE}" in frame.file


def _is_known(frame: SampledFrame) -> bool:
    """Return whether a frame is of this package, of the standard library, or the process's first."""
    is_standard = frame.file.startswith(STANDARD_LIBRARY) and INSTALLED not in frame.file
    return _is_ours(frame) or is_standard or frame.file.startswith(("<string>", "<frozen "))
