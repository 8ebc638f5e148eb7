"""The settings that the system keeps for a process, such as signals and limits (see :mod:`.process_settings`)."""

import importlib
import os
import resource
import signal
from functools import partial
from typing import Any

from scaler_notebook.protocol.settings import UMASK

from .noted_calls import NotedValues, note_value
from .setting import Setting

_signal: Any = importlib.import_module("_signal")  # without the enums of signal, in a third of the time
_TIMERS = signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF
_LIMITS = sorted({value for name, value in vars(resource).items() if name.startswith("RLIMIT_")})
_posix: Any = importlib.import_module(os.umask.__module__)
_set_wakeup: Any = signal.set_wakeup_fd
_umask, _get_limit, _set_limit = os.umask, resource.getrlimit, resource.setrlimit  # the functions without wrappers

# SIGINT is set before every task (task/interruption/interrupts.py). Real-time signals are left alone.
_OURS = {signal.SIGINT, signal.SIGKILL, signal.SIGSTOP}
_NUMBERS = sorted(int(number) for number in signal.valid_signals() - _OURS if number < 32)


def _read_handlers() -> list[Any]:
    return [*map(_signal.getsignal, _NUMBERS)]


def _write_handlers(handlers: list[Any]) -> None:
    for number, handler in zip(_NUMBERS, handlers, strict=True):
        if handler is not None and _signal.getsignal(number) != handler:  # None: it was set in C
            signal.signal(number, handler)


def _read_mask() -> Any:
    return _signal.pthread_sigmask(signal.SIG_BLOCK, ())


def _write_mask(blocked: set[int]) -> None:
    """Unblock signals. Pending ones were meant for the task and would end this process now, so they are consumed."""
    while pending := signal.sigpending() - blocked:
        signal.sigtimedwait(pending, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _read_timers() -> list[bool]:
    return [_signal.getitimer(which)[0] > 0 for which in _TIMERS]


def _write_timers(wanted: list[bool]) -> None:
    """End pending timers; :func:`signal.alarm` starts one, too."""
    for which, is_wanted in zip(_TIMERS, wanted, strict=True):
        if not is_wanted:
            signal.setitimer(which, 0)


def _read_wakeup() -> int:
    """Return the descriptor that is written to when a signal comes, e.g. that of a loop that was not closed."""
    descriptor: int = _set_wakeup(-1)
    if descriptor != -1:
        _set_wakeup(descriptor, warn_on_full_buffer=False)
    return descriptor


def _write_wakeup(descriptor: int) -> None:
    _set_wakeup(descriptor, warn_on_full_buffer=False)


def _read_umask() -> int:
    mask = _umask(0o077)
    _umask(mask)
    return mask


def _read_limits() -> list[tuple[int, int]]:
    return [*map(_get_limit, _LIMITS)]


def _write_limits(limits: list[tuple[int, int]]) -> None:
    """Set resource limits.

    Raises
    ------
    OSError, ValueError
        A hard limit that was lowered cannot be raised again.
    """
    for which, limit in zip(_LIMITS, limits, strict=True):
        if _get_limit(which) != limit:
            _set_limit(which, limit)


def system() -> list[Setting]:
    """Return the settings that the system keeps for this process."""
    noted, signals = NotedValues(), (signal, _signal)
    # Timers first: once handlers are restored, a timer could end this process.
    noted.add(_read_timers, _write_timers, signals, "alarm", "setitimer")
    noted.add(_read_handlers, _write_handlers, (signal,), "signal")
    noted.add(_read_mask, _write_mask, (signal,), "pthread_sigmask")
    noted.add(_read_wakeup, _write_wakeup, signals, "set_wakeup_fd")
    noted.add(_read_limits, _write_limits, (resource,), "setrlimit", "prlimit")
    found = [
        noted.setting("timers, signals and limits"),
        note_value(UMASK, _read_umask, _umask, (os, _posix), "umask"),
        # Without privileges niceness can only be raised. Read each time, because psutil changes it in C.
        Setting("niceness", partial(os.getpriority, os.PRIO_PROCESS, 0), partial(os.setpriority, os.PRIO_PROCESS, 0)),
    ]
    if hasattr(os, "sched_getaffinity"):
        found.append(Setting("cores", partial(os.sched_getaffinity, 0), partial(os.sched_setaffinity, 0)))
    return found
