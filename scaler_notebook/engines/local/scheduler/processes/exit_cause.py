"""Why a task process died, by its wait status and the system's memory figures."""

import contextlib
import os
import signal
from typing import NamedTuple

import psutil

from scaler_notebook.engines.local.resource_limits import ControlGroup, Kills
from scaler_notebook.protocol.messages import ProcessExit
from scaler_notebook.quantities import format_bytes

NEARLY_FULL = 0.05  # of all memory: if less was left, a SIGKILL is taken for the out-of-memory killer's

SIGNAL_HINTS = {
    signal.SIGABRT: " (native code gave up: an assertion, or memory that it did not get)",
    signal.SIGBUS: " (a mapped file that shrank, or a full /dev/shm)",
    signal.SIGSEGV: " (a crash in native code)",
    signal.SIGXCPU: " (its limit of CPU time)",
}
ADVICE = (
    "Have it hold less at a time, or fewer such tasks run at the same time: "
    "submit_verbose(..., resources={'memory': bytes}), or fewer workers"
)


class ExitCause(NamedTuple):
    """Why a process died.

    Parameters
    ----------
    words
        The cause in words.
    death
        The cause in figures.
    peak
        The most resident memory that the process had, in bytes; 0 if unknown.
    """

    words: str
    death: ProcessExit
    peak: int


UNKNOWN = ExitCause("it ended, and a bug in its scheduler keeps us from saying why", ProcessExit(), 0)


class CauseFinder:
    """Finds exit causes; to recognize the out-of-memory killer, it reads the count of kills again at each SIGKILL.

    Parameters
    ----------
    group
        The control groups of the task processes; None for this process's.
    """

    def __init__(self, group: ControlGroup | None = None) -> None:
        self._group = group if group is not None else ControlGroup()
        self._kills = self._group.kills

    def cause(self, status: int, peak: int = 0, why: str = "", for_memory: bool = False) -> ExitCause:
        """Find the exit cause of a process that was waited for.

        Parameters
        ----------
        status
            As ``os.wait`` gives it.
        peak
            The most resident memory that the process had, in bytes; 0 if unknown.
        why
            Why the scheduler has killed the process; empty if it has not.
        for_memory
            Was the process killed because it exceeded its limit of memory?
        """
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            words = f"it ended by itself with exit status {code} (os._exit, or a library that exits)"
            return ExitCause(words, ProcessExit(exit_code=code), peak)
        words, out_of_memory = self._killed(-code, peak, why)
        return ExitCause(words, ProcessExit(signal=-code, out_of_memory=out_of_memory or for_memory), peak)

    def _killed(self, number: int, peak: int, why: str) -> tuple[str, bool]:
        """Return what a death by a signal means, and whether memory was the cause."""
        if number != signal.SIGKILL:
            with contextlib.suppress(ValueError):
                return (
                    f"it was killed by {signal.Signals(number).name}{SIGNAL_HINTS.get(signal.Signals(number), '')}",
                    False,
                )
            return f"it was killed by signal {number}", False
        before, self._kills = self._kills, self._group.kills
        if why:
            return f"its scheduler killed it: {why}", False
        limit, new = self._group.memory_limit, _new(before, self._kills)
        known = ", ".join(
            f"{what} {format_bytes(size)}"
            for what, size in (("it had at most", peak), ("the limit of its control group is", limit or 0))
            if size
        )
        known = f" ({known})" if known else ""
        if new is not None and new.ours:
            return f"out of memory: the kernel killed it, for no memory was left{known}. {ADVICE}", True
        if new is not None:
            return (
                f"probably out of memory: the kernel killed for want of memory on this machine{known}. {ADVICE}",
                True,
            )
        if peak and _was_nearly_full(peak, limit):
            return (
                f"probably out of memory: it was killed by SIGKILL while memory was nearly full{known}. {ADVICE}",
                True,
            )
        return "it was killed by SIGKILL, from outside; memory was not short, as far as can be seen", False


def over_limit(size: int, limit: int) -> str:
    """Return why a task is killed that exceeds its limit of memory.

    Parameters
    ----------
    size
        The bytes that the task has.
    limit
        The bytes that it may have.
    """
    return (
        f"it had {format_bytes(size)} of memory, and its memory_limit is {format_bytes(limit)}. Have it "
        "hold less at a time, or give it a higher limit"
    )


def _new(before: Kills | None, now: Kills | None) -> Kills | None:
    """Return the second count if it is higher than the first; None if it is not, or either is unknown."""
    return now if now is not None and before is not None and now.number > before.number else None


def _was_nearly_full(peak: int, limit: int | None) -> bool:
    """Return whether hardly any memory was left before a process with this peak of memory ended, as far as is known."""
    try:
        memory = psutil.virtual_memory()
    except OSError:  # this process has no descriptor left to read a file with
        return False
    total, free = memory.total, memory.available - peak
    return bool(free < NEARLY_FULL * total or (limit is not None and peak > (1 - NEARLY_FULL) * limit))
