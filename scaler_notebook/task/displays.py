"""Rich displays from inside a task: what ``display(obj)``, ``plt.show()`` and their like come to.

IPython's ``display`` publishes only where an ``InteractiveShell`` exists, and prints otherwise (IPython's
``core/display_functions.py``). So in a task process the first who asks for a shell, or displays, gets one made
(:mod:`.ipython_shell`), whose publisher is :func:`publish`. A task that never imports IPython pays nothing.
"""

import base64
import builtins
import functools
import importlib.util
import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any

from ..protocol.messages import DisplayKind
from .current_task import current_task
from .import_hooks import after_import
from .process_state import keeping

# The model of a widget lives in the process that made it, and so does its comm: in the notebook it would stay empty.
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

_making = threading.RLock()
_shell_is_being_made = False


def publish(
    bundle: Mapping[str, Any], metadata: Mapping[str, Any] | None = None, *, display_id: str = "", update: bool = False
) -> None:
    """Show a MIME bundle among the current task's output: in ``future.displays``. Outside of a task it does nothing.

    Parameters
    ----------
    bundle
        By MIME type, as for IPython's ``display(..., raw=True)``; bytes become base64 text. Widgets are left out.
    metadata
        As for IPython.
    display_id
        To be updated by, later on.
    update
        Change what was displayed under this ``display_id``, instead of showing it anew.

    Raises
    ------
    ValueError
        It refers to itself.
    """
    kept = {mime: data for mime, data in bundle.items() if mime != WIDGET_VIEW}
    if kept or not bundle:  # an empty one with a display_id is a place for later
        kind = DisplayKind.UPDATE if update else DisplayKind.SHOW
        current_task().publisher(kind, display_id, as_json(kept), as_json(dict(metadata or {})))


def clear(wait: bool = False) -> None:
    """IPython's ``clear_output``: what the task wrote and displayed is shown no more. ``future.logs`` keeps its text.

    Parameters
    ----------
    wait
        Only when something new comes.
    """
    current_task().publisher(DisplayKind.CLEAR_ON_NEXT if wait else DisplayKind.CLEAR, "", b"{}", b"{}")


def as_json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, default=_plain, skipkeys=True).encode()


def _plain(value: Any) -> Any:
    """What ipykernel's ``json_clean`` does to what JSON has no form for."""
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, set | frozenset):
        return list(value)
    return value.item() if hasattr(value, "item") else str(value)  # a number of numpy's


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
            with keeping():
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
