"""Objects of the notebook's process that functions refer to, and that are the task's own where the function runs.

``get_ipython()``, ``!command``, ``%magic`` and ``exit`` in a function of a notebook all reach the kernel's shell; a
default ``file=sys.stdout`` is the kernel's stream.
"""

import sys
from typing import Any

from .display import displays

STREAMS = ("stdout", "stderr", "stdin")


def reduce(obj: Any) -> Any:
    """How pickle is to write such an object: as a call that gives the task's own; NotImplemented for any other."""
    for name in STREAMS:
        if obj is getattr(sys, name) or obj is getattr(sys, f"__{name}__"):
            return getattr, (sys, name)
    if "IPython" not in sys.modules:
        return NotImplemented
    if _is_a(obj, "ipykernel.iostream", "OutStream"):  # one that was the kernel's before something replaced it
        return getattr, (sys, obj.name if obj.name in STREAMS else "stdout")
    if _is_a(obj, "IPython.core.interactiveshell", "InteractiveShell"):
        return displays.task_shell, ()
    if _is_a(obj, "IPython.core.autocall", "ExitAutocall"):
        return getattr, (sys, "exit")
    return NotImplemented


def _is_a(obj: Any, module: str, name: str) -> bool:
    found = getattr(sys.modules.get(module), name, None)
    return found is not None and isinstance(obj, found)
