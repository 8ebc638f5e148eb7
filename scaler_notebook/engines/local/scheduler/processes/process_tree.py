"""Process trees: a process and its descendants, to be found, frozen, measured and killed."""

import contextlib
import os
import signal
import sys
from collections.abc import Container, Iterator

import psutil

from scaler_notebook.task.isolation import orphans

MAX_ROUNDS = 1_000  # of listing descendants, for :func:`freeze`; a round takes a tenth of a millisecond
QUIET_ROUNDS = 2  # in a row that find nothing new; one can miss a process that starts meanwhile, see proc(5)
FLAGS, PF_EXITING = 5, 0x4  # index of the kernel's flags in /proc/PID/stat, counted from the state


def descendants(pid: int) -> list[int]:
    """Return all processes that ``pid`` started, directly and indirectly, in whatever session they are."""
    return list(_walk(pid))


def _walk(pid: int, childless: Container[int] = ()) -> Iterator[int]:
    """Yield the descendants of a process, a parent before its children, the youngest child first.

    Parameters
    ----------
    pid
        The process.
    childless
        Processes that need not be asked for children.
    """
    if sys.platform != "linux":
        with contextlib.suppress(psutil.Error):
            yield from (child.pid for child in psutil.Process(pid).children(recursive=True))
        return
    waiting = [pid]
    while waiting:
        for child in reversed(orphans.children(waiting.pop())):
            yield child
            if child not in childless:
                waiting.append(child)


def is_within(pid: int, ancestor: int) -> bool:
    """Return whether process ``pid`` is a descendant of process ``ancestor``.

    Parameters
    ----------
    pid
        The possible descendant.
    ancestor
        The possible ancestor.
    """
    with contextlib.suppress(psutil.Error):
        return any(parent.pid == ancestor for parent in psutil.Process(pid).parents())
    return False


def freeze(pid: int) -> list[int]:
    """Stop a process and all descendants by SIGSTOP, as far as they are found, and return the descendants.

    A stopped process starts no other, so a kill afterwards misses few. If a process forks and ends during the search,
    its child is found in a later round: the child is then adopted by an ancestor, which is ``pid`` at the latest
    (:mod:`scaler_notebook.task.isolation.orphans`). What is missed nevertheless becomes an orphan when ``pid`` dies.
    """
    _signal(pid, signal.SIGSTOP)
    found: set[int] = set()
    ended: set[int] = set()  # have no children any more; a process that forks and ends at once leaves many of them
    quiet = 0
    for _ in range(MAX_ROUNDS):
        new = set()
        for each in _walk(pid, ended):
            if each not in found and each not in new:
                _signal(each, signal.SIGSTOP)  # at once: who lives for a moment is gone after the whole list
                new.add(each)
        found |= new
        ended |= {each for each in found - ended if orphans.has_ended(each)}
        quiet = 0 if new else quiet + 1
        if quiet == QUIET_ROUNDS:
            break
    return list(found)


def resident(pid: int, shared_once: bool = False) -> int:
    """Return the bytes of memory that a process and all descendants use.

    Parameters
    ----------
    pid
        The process.
    shared_once
        Is memory that processes share divided among them, where the system can tell? Otherwise it counts in each.
    """
    size = _proportional if shared_once else _resident
    return sum(map(size, (pid, *descendants(pid))))


def _resident(pid: int) -> int:
    """Return the bytes that a process uses, shared memory included; 0 if the process is gone."""
    with contextlib.suppress(psutil.Error, OSError):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _proportional(pid: int) -> int:
    """Return the bytes that a process uses, with its share of shared memory."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return _resident(pid)


def kill(pid: int) -> None:
    """Send SIGKILL to a process, if it exists."""
    _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process, if it exists and belongs to this user."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def kill_group(leader: int) -> None:
    """Send SIGKILL to every process of a group, if there is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def group_exists(leader: int) -> bool:
    """Return whether a process group has any process, zombies included."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def exists(pid: int) -> bool:
    """Return whether there is a process with this number, zombies included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def cpu_seconds(pid: int) -> float:
    """Return the seconds of CPU that a process and its descendants have used, as far as the system tells."""
    seconds = 0.0
    for each in (pid, *descendants(pid)):
        with contextlib.suppress(psutil.Error):
            seconds += sum(psutil.Process(each).cpu_times()[:4])  # those of children that have ended are in it
    return seconds


def is_ending(pid: int) -> bool:
    """Return whether a process is dead, or certain to die; True where the system does not tell (Linux alone does)."""
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
