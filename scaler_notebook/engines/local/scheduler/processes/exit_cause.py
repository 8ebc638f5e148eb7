"""Why a task process died, as far as its wait status and the system's memory figures tell."""

import contextlib
import os
import signal
from typing import NamedTuple

import psutil

from scaler_notebook.engines.local.resource_limits import ControlGroup, Kills
from scaler_notebook.protocol.messages import Death
from scaler_notebook.quantities import format_bytes

NEARLY_FULL = 0.05  # of all memory, and less than that was left: a guess needs a bound

HINTS = {
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
    """A death in words, and as figures. ``peak`` is in bytes, 0 if unknown."""

    words: str
    death: Death
    peak: int


UNKNOWN = ExitCause("it ended, and a bug in its scheduler keeps us from saying why", Death(), 0)


class CauseFinder:
    """Tells causes of death; looks at memory at its start and after each death by SIGKILL.

    Parameters
    ----------
    group
        Ours.
    """

    def __init__(self, group: ControlGroup | None = None) -> None:
        self._group = group if group is not None else ControlGroup()
        self._kills = self._group.kills

    def cause(self, status: int, peak: int = 0, why: str = "", for_memory: bool = False) -> ExitCause:
        """Of a process that was waited for.

        Parameters
        ----------
        status
            As ``os.wait`` gives it.
        peak
            Bytes: the most resident memory that it had.
        why
            We have killed it ourselves, and this is why.
        for_memory
            It was because it had too much of that.
        """
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            words = f"it ended by itself with exit status {code} (os._exit, or a library that exits)"
            return ExitCause(words, Death(exit_code=code), peak)
        words, out_of_memory = self._killed(-code, peak, why)
        return ExitCause(words, Death(signal=-code, out_of_memory=out_of_memory or for_memory), peak)

    def _killed(self, number: int, peak: int, why: str) -> tuple[str, bool]:
        if number != signal.SIGKILL:
            with contextlib.suppress(ValueError):
                return f"it was killed by {signal.Signals(number).name}{HINTS.get(signal.Signals(number), '')}", False
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
    """Why a task is killed that has more than its limit of memory; both in bytes."""
    return (
        f"it had {format_bytes(size)} of memory, and its memory_limit is {format_bytes(limit)}. Have it "
        "hold less at a time, or give it a higher limit"
    )


def _new(before: Kills | None, now: Kills | None) -> Kills | None:
    return now if now is not None and before is not None and now.number > before.number else None


def _was_nearly_full(peak: int, limit: int | None) -> bool:
    """Was there hardly any memory left before this process gave back its own?"""
    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available - peak
    return bool(free < NEARLY_FULL * total or (limit is not None and peak > (1 - NEARLY_FULL) * limit))
