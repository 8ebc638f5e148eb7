"""Rich displays from inside a task: what ``display(obj)``, ``plt.show()`` and their like come to.

IPython's ``display`` publishes only where an ``InteractiveShell`` exists, and prints otherwise (IPython's
``core/display_functions.py``). So in a task process the first who asks for a shell, or displays, gets one made
(:mod:`.ipython_shell`), whose publisher is :func:`publish`. A task that never imports IPython pays nothing.
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

_making = threading.RLock()
_shell_is_being_made = False


def task_shell() -> Any:
    """The shell of this task process, made if need be: for ``get_ipython()``, magics, and how values are displayed.

    Raises
    ------
    ImportError
        There is no IPython.
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


def watch_for_ipython() -> None:
    """In a task process: have IPython's displays published. A notebook's code calls ``display`` without an import."""
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
    """These print, or make a shell of another kind, where there is none."""

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
    """Libraries decide by ``get_ipython()``, when they are imported, whether they are in a notebook."""
    original = module.get_ipython

    @functools.wraps(original)
    def get_ipython() -> Any:
        return original() if _shell_is_being_made else task_shell()

    module.get_ipython = get_ipython


def prefer_inline_figures() -> None:
    """Where no notebook has set matplotlib's backend: that of notebooks, unless somebody has chosen another.

    Without a backend that displays, ``plt.show()`` does nothing. The process of a kernel has this setting from
    ipykernel, and so have task processes that share the kernel's environment.
    """
    if "matplotlib" not in sys.modules and importlib.util.find_spec("matplotlib_inline") is not None:
        os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")


def flush_figures() -> None:
    """At the end of a task: show the figures that it left open, and close them, as a notebook does after a cell.

    That is what ``matplotlib_inline.backend_inline.flush_figures`` does, which is asked whether it is due; what goes
    wrong with a figure is printed and fails no task.
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
