"""The IPython shell of a task process. Imported on demand, because importing IPython takes a tenth of a second."""

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
    """The publisher to which ``display`` and ``clear_output`` lead."""

    def publish(self, data: Any, metadata: Any = None, *_: Any, **options: Any) -> None:
        """Publish a bundle to the task's future; ``transient`` and ``update`` are as IPython passes them.

        Parameters
        ----------
        data
            The bundle by MIME type.
        metadata
            The metadata of the bundle.
        """
        display_id = (options.get("transient") or {}).get("display_id", "")
        publish(data, metadata, display_id=str(display_id), update=bool(options.get("update")))

    def clear_output(self, wait: bool = False) -> None:
        """Clear the task's output; with ``wait`` only when something new comes."""
        clear(wait)


class TaskDisplayHook(DisplayHook):
    """A display hook that displays the value of a cell's last expression, without a prompt."""

    def write_output_prompt(self) -> None:
        """Do nothing."""

    def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
        """Publish the formatted value.

        Parameters
        ----------
        format_dict
            The bundle by MIME type.
        md_dict
            The metadata.
        """
        publish(format_dict, md_dict)

    def finish_displayhook(self) -> None:
        """End the display of a value."""
        self._is_active = False


class TaskShell(InteractiveShell):
    """A shell that formats values, runs magics and cells, keeps no history, and prints no traceback of a cell."""

    display_pub_class = Type(TaskPublisher)
    displayhook_class = Type(TaskDisplayHook)
    db: Any = {}  # noqa: RUF012  # in place of the profile's file with bookmarks of %cd and aliases

    def init_sys_modules(self) -> None:
        """Leave ``__main__`` as it is: pickles are loaded against it."""

    def init_virtualenv(self) -> None:
        """Do nothing: the path is the kernel's already."""

    def showtraceback(
        self,
        exc_tuple: Any = None,
        filename: Any = None,
        tb_offset: Any = None,
        exception_only: bool = False,
        running_compiled_code: bool = False,
    ) -> None:
        """Print the error of a value that cannot be displayed (IPython's ``catch_format_error``).

        The error of a cell itself is in the cell's result.

        Parameters
        ----------
        exc_tuple
            As from ``sys.exc_info()``; None for the current exception.
        filename, tb_offset, exception_only
            Unused.
        running_compiled_code
            Whether the error is that of a cell.
        """
        if not running_compiled_code:
            error = exc_tuple[1] if exc_tuple is not None else sys.exc_info()[1]
            traceback.print_exception(error)

    def showsyntaxerror(self, *_: Any, **__: Any) -> None:
        """Do nothing: the error is in the cell's result."""

    def showindentationerror(self) -> None:
        """Do nothing: the error is in the cell's result."""


def make() -> InteractiveShell:
    """Return the shell of this process; if other code has made one of another kind, return that one."""
    if InteractiveShell.initialized():
        return _in_this_task(InteractiveShell.instance())
    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    shell = TaskShell.instance(config=config, user_module=types.ModuleType("__main__"), cache_size=0)
    _configure_matplotlib()
    return _in_this_task(shell)


def _in_this_task(shell: InteractiveShell) -> InteractiveShell:
    """Give the shell of a task process the names of the running task; leave a kernel's shell alone."""
    if isinstance(shell, TaskShell):
        shell.user_module = sys.modules["__main__"]
        shell.user_ns = vars(shell.user_module)
        shell.user_ns.setdefault("_dh", [os.getcwd()])  # %cd and %pwd look there
    return shell


def _configure_matplotlib() -> None:
    """Configure ``matplotlib_inline``, which does so itself only if it is imported after the shell was made."""
    inline = sys.modules.get("matplotlib_inline.backend_inline")
    enable = getattr(inline, "_enable_matplotlib_integration", None)
    if enable is not None:
        enable()
