"""A profile of every process of an engine, by cProfile. Python imports this where the directory is on ``PYTHONPATH``.

Each process profiles its main thread from its start, and a forked one anew. At the first SIGUSR2 it forgets what it
has counted, at each later one it writes that to ``BENCHMARK_PROFILES/PID.prof``. The profiler is there before a task
process notes its settings: what is put back after each task leaves it alone.
"""

import cProfile
import marshal
import os
import signal
from pathlib import Path
from typing import Any

_directory = os.environ.get("BENCHMARK_PROFILES", "")
_profile: Any = cProfile.Profile()
_begun = False


def _in_child() -> None:
    global _profile, _begun
    _profile.disable()
    _profile, _begun = cProfile.Profile(), False
    _profile.enable()


def _signalled(*_: object) -> None:
    global _begun
    if not _begun:
        _begun = True
        _profile.clear()
        return
    _profile.snapshot_stats()
    path = Path(_directory) / f"{os.getpid()}.prof"
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(marshal.dumps(_profile.stats))
    unfinished.rename(path)


if _directory:
    signal.signal(signal.SIGUSR2, _signalled)
    os.register_at_fork(after_in_child=_in_child)
    _profile.enable()
