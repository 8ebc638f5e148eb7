"""The functions that everything is built on, which a task may have replaced by a patch that it has not taken back.

Names of ``builtins`` are restored. Copies of other functions may be in other modules by now, and libraries that patch
them (gevent, say) patch many that fit together: such a process is of no use to the next task.
"""

import builtins
import io
import json
import os
import pickle
import socket
import subprocess
import threading
import time
from typing import Any

from .expressions import Expression
from .setting import CannotRestoreError, CopiedMapping, Setting, merged_mapping

_NAMES: dict[Any, str] = {
    pickle: "dump dumps load loads Pickler Unpickler",
    threading: "Thread Thread.start Thread.run Thread.join Lock RLock Condition Event Timer current_thread get_ident",
    time: "time sleep monotonic perf_counter",
    socket: "socket create_connection getaddrinfo socketpair",
    subprocess: "Popen Popen.__init__ run check_output",
    os: "open read write close dup2 fstat getcwd chdir getpid fork kill _exit system listdir stat",
    io: "open BytesIO StringIO TextIOWrapper",
    json: "dump dumps load loads",
}
_BUILTINS = vars(builtins)


def _cannot(wanted: Any) -> None:
    raise CannotRestoreError


def _write_builtins(wanted: dict[str, Any]) -> None:
    for name in _BUILTINS.keys() - wanted.keys():
        del _BUILTINS[name]
    _BUILTINS.update(wanted)


def internals() -> list[Setting]:
    """Return the settings that watch these functions."""
    names = [f"{{{module.__name__}}}.{name}" for module, names in _NAMES.items() for name in names.split()]
    functions = Expression(f"({', '.join(names)})", **{module.__name__: module for module in _NAMES})
    copied = CopiedMapping(_BUILTINS)
    return [
        Setting("builtins", copied.read, _write_builtins, merged_mapping, copied.look),
        Setting("functions of the standard library", functions, _cannot),
    ]
