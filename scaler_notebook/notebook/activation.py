"""Activation of a kernel: the one place where the kernel's host and the views meet."""

from collections.abc import Callable, Sequence
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.client.task_graph import GraphFutures
from scaler_notebook.client.waiting.host import FillingBoard, install_host

from . import tracebacks
from .kernel import host as kernel
from .kernel import ipykernel_compat
from .kernel.host import KernelHost
from .views import lists


class LazyViews:
    """Implements :class:`.kernel.host.Views`. The views are imported with the first one: their widgets take 0.2 s."""

    def widget(self, shown: Any, host: KernelHost) -> Any:
        """Create the widget of a future or a group.

        Parameters
        ----------
        shown
            The future or the group.
        host
            The host of the kernel.
        """
        from . import widget_factory

        return widget_factory.make_widget(shown, host)

    def open_board(self, title: str, host: KernelHost) -> Callable[[Any], None]:
        """Display a board without futures in the cell that runs; what is returned adds a future.

        Parameters
        ----------
        title
            The title above the board.
        host
            The host of the kernel.
        """
        from .views.board import display

        return display.open_board(title, host)

    def open_group_board(self, title: str, futures: Sequence[Any], host: KernelHost) -> FillingBoard | None:
        """Display the board of a group that is being submitted, if the cell that runs is going to; else return None.

        Parameters
        ----------
        title
            The title above the board, until the group is complete.
        futures
            Its futures so far.
        host
            The host of the kernel.
        """
        from .views.board import cell_value

        code = ipykernel_compat.parent(host.kernel).get("content", {}).get("code", "")
        if not cell_value.is_group(host.shell.transform_cell(code)):
            return None
        from .views.board import display

        return display.open_group_board(title, futures, host)

    def offer_cancel(self, futures: Sequence[Any], host: KernelHost) -> None:
        """Show cards of futures whose tasks run on after the stop button.

        Parameters
        ----------
        futures
            The futures.
        host
            The host of the kernel.
        """
        from .views.card import display

        display.offer_cancel(futures, host)


def activate(shell: Any) -> KernelHost:
    """Make this process a kernel's: waits keep the kernel alive, futures are displayed as cards. Idempotent.

    Parameters
    ----------
    shell
        The kernel's ``InteractiveShell``.
    """
    host = kernel.kernel_host()
    if host is None:
        host = KernelHost(shell, LazyViews())
        kernel.register(host)
        install_host(host)
        host.on_cell_start()
        shell.events.register("pre_run_cell", host.on_cell_start)
        shell.events.register("post_run_cell", host.on_cell_end)
        _register_views(shell)
        tracebacks.install(shell)
    return host


def _register_views(shell: Any) -> None:
    """Have IPython display futures as cards, groups and graphs as boards, and executors as their engines."""

    def show(future: ScalerFuture[Any]) -> None:
        """Display a card."""
        from .views.card import display

        display.show(future)

    def show_group(group: FutureGroup[Any]) -> None:
        """Display a board."""
        from .views.board import display

        display.show(group)

    def show_executor(executor: Any) -> None:
        """Display the view of an executor."""
        from .views.engine import display

        display.show(executor)

    formatter = shell.display_formatter.ipython_display_formatter
    formatter.for_type(ScalerFuture, show)
    formatter.for_type(FutureGroup, show_group)
    formatter.for_type(GraphFutures, lambda futures: show_group(futures.group))
    for module, name in (("executor", "NotebookExecutor"), ("client", "Client")):
        formatter.for_type_by_name(f"scaler_notebook.client.{module}", name, show_executor)
    lists.register(formatter, show_group)
