"""Rich displays from inside a task: the effect of ``display(obj)``, ``plt.show()`` and their like.

IPython's ``display`` publishes only where an ``InteractiveShell`` exists, and prints otherwise (IPython's
``core/display_functions.py``). So in a task process a shell is made when code first asks for one, or displays
(:mod:`.ipython_shell`); its publisher is :func:`~.display_publisher.publish`. A task that never imports IPython pays
nothing.
"""

import builtins
import functools
import importlib.util
import os
import sys
import threading
import traceback
from typing import Any

from scaler_notebook.task.isolation.process_state import lasting_changes
from scaler_notebook.task.modules.import_hooks import after_import

from .summary import known

_making = threading.RLock()
_shell_is_being_made = False


def task_shell() -> Any:
    """Return the shell of this task process, made if need be: for ``get_ipython()``, magics, and the display of values.

    Raises
    ------
    ImportError
        IPython is not installed.
    """
    global _shell_is_being_made
    with _making:
        from .ipython_shell import make

        _shell_is_being_made = True
        try:
            with lasting_changes():
                return make()
        finally:
            _shell_is_being_made = False


def is_tasks_own(shell: Any) -> bool:
    """Return whether a shell is that of a task process, and not a kernel's."""
    from .ipython_shell import TaskShell

    return isinstance(shell, TaskShell)


def watch_for_ipython() -> None:
    """Have IPython's displays published in this task process, and provide the builtin ``display`` of notebooks."""
    if not hasattr(builtins, "display"):
        builtins.display = _display  # type: ignore[attr-defined]
    after_import("IPython.core.getipython", _shell_on_demand)
    after_import("IPython.core.display_functions", _shell_first)


def _display(*objects: Any, **options: Any) -> Any:
    try:
        from IPython.display import display
    except ImportError:
        print(*objects)  # as IPython does where it has no shell
        return None
    return display(*objects, **options)


def _shell_first(module: Any) -> None:
    """Make these functions make a shell first: without one they print, or make a shell of another kind."""

    def wrapped(function: Any) -> Any:
        @functools.wraps(function)
        def with_shell(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if not _shell_is_being_made:
                task_shell()
            return function(*args, **kwargs)

        return with_shell

    for name in ("display", "clear_output", "publish_display_data"):
        setattr(module, name, wrapped(getattr(module, name)))


def _shell_on_demand(module: Any) -> None:
    """Let ``get_ipython()`` make the shell: by it libraries decide, on import, whether they are in a notebook."""
    original = module.get_ipython

    @functools.wraps(original)
    def get_ipython() -> Any:
        return original() if _shell_is_being_made else task_shell()

    module.get_ipython = get_ipython


def prefer_inline_figures() -> None:
    """Choose the matplotlib backend of notebooks, unless one is chosen already.

    Without a backend that displays, ``plt.show()`` does nothing. The process of a kernel gets this setting from
    ipykernel, and so do task processes that share the kernel's environment.
    """
    if "matplotlib" not in sys.modules and importlib.util.find_spec("matplotlib_inline") is not None:
        os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")


def release_figure(value: Any) -> None:
    """Have a figure that is a task's result shown as that alone, and not among the figures that are left open, too."""
    if "matplotlib.pyplot" in sys.modules and known(type(value)) == "matplotlib":
        sys.modules["matplotlib.pyplot"].close(value)


def flush_figures() -> None:
    """Show and close the figures that a task has left open, as a notebook does after a cell.

    ``matplotlib_inline.backend_inline.flush_figures`` does the same; here its own state says whether that is due, and
    an error in drawing is printed and fails no task.
    """
    inline = sys.modules.get("matplotlib_inline.backend_inline")
    if inline is None or not getattr(getattr(inline, "show", None), "_draw_called", False):
        return
    try:
        inline.show(close=True)
    except Exception:
        traceback.print_exc()
    finally:
        inline.show._draw_called = False
