"""Reducers for objects of the notebook's process that functions refer to, and of which a task has its own.

``get_ipython()``, ``!command``, ``%magic`` and ``exit`` in a function of a notebook all refer to the kernel's shell; a
default ``file=sys.stdout`` is the kernel's stream.
"""

import sys
from typing import Any

STREAMS = ("stdout", "stderr", "stdin")


def reduce(obj: Any) -> Any:
    """Reduce such an object to a call that returns the task's own; return NotImplemented for any other object."""
    for name in STREAMS:
        if obj is getattr(sys, name) or obj is getattr(sys, f"__{name}__"):
            return getattr, (sys, name)
    if "IPython" not in sys.modules:
        return NotImplemented
    if _is_a(obj, "ipykernel.iostream", "OutStream"):  # the kernel's stream, which something has replaced in sys
        return getattr, (sys, obj.name if obj.name in STREAMS else "stdout")
    if _is_a(obj, "IPython.core.interactiveshell", "InteractiveShell"):
        from .display import displays  # here, because few functions refer to the shell

        return displays.task_shell, ()
    if _is_a(obj, "IPython.core.autocall", "ExitAutocall"):
        return getattr, (sys, "exit")
    return NotImplemented


def _is_a(obj: Any, module: str, name: str) -> bool:
    found = getattr(sys.modules.get(module), name, None)
    return found is not None and issubclass(type(obj), found)  # not isinstance, which would wake a lazy module
