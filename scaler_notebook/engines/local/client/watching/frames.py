"""The frames of a process's main thread, as whatever samples them gives them."""

import os
import sysconfig
from typing import NamedTuple

FOLDER = f"{os.sep}scaler_notebook{os.sep}"
RUNNER = os.path.join("task", "runner.py")  # in the package; runs each task, in whichever environment
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


OMITTED = SampledFrame("<further frames, which faulthandler leaves out>", 0, "…")  # the outermost, of a deep stack


class CannotLook(RuntimeError):
    """A process cannot be looked at in this way; the message says why."""


def users_frames(frames: list[SampledFrame]) -> list[SampledFrame]:
    """Return the frames without those that lead to the task's own code; the outermost is the first, as before.

    Before its call a process imports modules and unpickles values for it: code of theirs is the task's own, too. Of a
    deep stack, what led to that code may be among the frames that are left out.
    """
    package = _package_of(frames)
    begin = next((place for place, frame in enumerate(frames) if frame.file == package + RUNNER), None)
    if begin is None:
        known = (place for place, frame in enumerate(frames) if not _is_known(frame, package))
        return frames if OMITTED in frames else frames[next(known, len(frames)) :]
    while begin < len(frames) and (_is_ours(frames[begin], package) or frames[begin].file.startswith(IMPORT_SYSTEM)):
        begin += 1
    return frames[begin:]


def _package_of(frames: list[SampledFrame]) -> str:
    """Return the folder of the package as the process has it: a task process begins in a module of the package.

    The user's own code may lie in a folder of that name, around the package's or elsewhere.
    """
    first = next((frame.file for frame in frames if FOLDER in frame.file), FOLDER)
    return first[: first.rindex(FOLDER) + len(FOLDER)]


def _is_ours(frame: SampledFrame, package: str) -> bool:
    return frame.file.startswith(package)


def _is_known(frame: SampledFrame, package: str) -> bool:
    """Return whether a frame is of the package, of the standard library, or the process's first.

    Parameters
    ----------
    frame
        The frame.
    package
        The package's folder.
    """
    is_standard = frame.file.startswith(STANDARD_LIBRARY) and INSTALLED not in frame.file
    return _is_ours(frame, package) or is_standard or frame.file.startswith(("<string>", "<frozen "))
