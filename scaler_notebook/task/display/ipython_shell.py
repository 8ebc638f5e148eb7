"""The IPython shell of a task process. Imported when a task needs it: IPython takes a tenth of a second to import."""

import os
import sys
import traceback
import types
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Type
from traitlets.config import Config

from .display_publisher import clear, publish


class TaskPublisher(DisplayPublisher):
    """Where ``display`` and ``clear_output`` end."""

    def publish(self, data: Any, metadata: Any = None, *_: Any, **options: Any) -> None:
        """To the task's future; ``transient`` and ``update`` are IPython's."""
        display_id = (options.get("transient") or {}).get("display_id", "")
        publish(data, metadata, display_id=str(display_id), update=bool(options.get("update")))

    def clear_output(self, wait: bool = False) -> None:
        clear(wait)


class TaskDisplayHook(DisplayHook):
    """The value of a cell's last expression is displayed; there is no prompt."""

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
        publish(format_dict, md_dict)

    def finish_displayhook(self) -> None:
        self._is_active = False


class TaskShell(InteractiveShell):
    """Formats, knows magics, runs cells. It keeps no history and prints no traceback of a cell."""

    display_pub_class = Type(TaskPublisher)
    displayhook_class = Type(TaskDisplayHook)
    db: Any = {}  # noqa: RUF012  # what IPython keeps in a file of the profile: bookmarks of %cd, aliases

    def init_sys_modules(self) -> None:
        """``__main__`` stays what it is: pickles are loaded against it."""

    def init_virtualenv(self) -> None:
        """The path is the kernel's already."""

    def showtraceback(
        self,
        exc_tuple: Any = None,
        filename: Any = None,
        tb_offset: Any = None,
        exception_only: bool = False,
        running_compiled_code: bool = False,
    ) -> None:
        """Of a value that cannot be displayed (IPython's ``catch_format_error``); a cell's own is in its result."""
        if not running_compiled_code:
            error = exc_tuple[1] if exc_tuple is not None else sys.exc_info()[1]
            traceback.print_exception(error)

    def showsyntaxerror(self, *_: Any, **__: Any) -> None:
        """It is in the cell's result."""

    def showindentationerror(self) -> None:
        """It is in the cell's result."""


def make() -> InteractiveShell:
    """The shell of this process; if some code has made one of another kind, that one."""
    if InteractiveShell.initialized():
        return _in_this_task(InteractiveShell.instance())
    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    shell = TaskShell.instance(config=config, user_module=types.ModuleType("__main__"), cache_size=0)
    _configure_matplotlib()
    return _in_this_task(shell)


def _in_this_task(shell: InteractiveShell) -> InteractiveShell:
    """The shell of a task process has the names of the task that runs; a kernel's is left alone."""
    if isinstance(shell, TaskShell):
        shell.user_module = sys.modules["__main__"]
        shell.user_ns = vars(shell.user_module)
        shell.user_ns.setdefault("_dh", [os.getcwd()])  # %cd and %pwd look there
    return shell


def _configure_matplotlib() -> None:
    """``matplotlib_inline`` does it itself when it is imported and there is a shell; here it came before the shell."""
    inline = sys.modules.get("matplotlib_inline.backend_inline")
    enable = getattr(inline, "_enable_matplotlib_integration", None)
    if enable is not None:
        enable()
