"""A task process with all that it started: finding, killing, and knowing when they are gone."""

import contextlib
import os
import signal
import sys

import psutil

from scaler_notebook.task.isolation import orphans

MAX_ROUNDS = 1_000  # of looking for what a process has started; a round takes a tenth of a millisecond
QUIET_ROUNDS = 4  # that find nothing new: one alone can miss what comes while the kernel lists (``proc(5)``)
FLAGS, PF_EXITING = 5, 0x4  # the kernel's flags of a process in /proc/PID/stat, counted from its state


def descendants(pid: int) -> list[int]:
    """Processes that ``pid`` started, and those that they started, also in other sessions."""
    if sys.platform != "linux":
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        return []
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = orphans.children(waiting.pop())
        found += children
        waiting += children
    return found


def is_within(pid: int, ancestor: int) -> bool:
    """Has that process started this one, or what started it?"""
    with contextlib.suppress(psutil.Error):
        return any(parent.pid == ancestor for parent in psutil.Process(pid).parents())
    return False


def freeze(pid: int) -> list[int]:
    """Stop a process and all that it started, for the kill that follows; gives the latter.

    What is stopped starts nothing. Who forks and ends while we look is caught in a later round: its child is another's
    then, ``pid``'s at the latest (:mod:`scaler_notebook.task.isolation.orphans`).
    """
    _signal(pid, signal.SIGSTOP)
    found: dict[int, None] = {}
    quiet = 0
    for _ in range(MAX_ROUNDS):
        new = [each for each in descendants(pid) if each not in found]
        for each in new:
            _signal(each, signal.SIGSTOP)
        found.update(dict.fromkeys(new))
        quiet = 0 if new else quiet + 1
        if quiet == QUIET_ROUNDS:
            break
    return list(found)


def resident(pid: int, shared_once: bool = False) -> int:
    """Bytes of memory that a process and all that it started have in use.

    Parameters
    ----------
    shared_once
        What several processes share is divided between them, where the system tells; otherwise it counts in each.
    """
    size = _proportional if shared_once else _resident
    return sum(map(size, (pid, *descendants(pid))))


def _resident(pid: int) -> int:
    with contextlib.suppress(psutil.Error, OSError):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _proportional(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return _resident(pid)


def kill(pid: int) -> None:
    """SIGKILL, if it is still there."""
    _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def kill_group(leader: int) -> None:
    """SIGKILL to every process of a group, if there is one left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def group_exists(leader: int) -> bool:
    """Is a process of the group left, be it a zombie?"""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def exists(pid: int) -> bool:
    """Is there such a process, be it a zombie?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_ending(pid: int) -> bool:
    """Is it dead, or past the point where it could be saved? Known on Linux alone; elsewhere, and if unsure: True."""
    if sys.platform != "linux":
        with contextlib.suppress(psutil.Error):
            return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        return True
    try:
        with open(f"/proc/{pid}/stat") as file:
            state, *fields = file.read().rpartition(")")[2].split()
    except OSError:
        return True
    return state in "ZX" or bool(int(fields[FLAGS]) & PF_EXITING)
