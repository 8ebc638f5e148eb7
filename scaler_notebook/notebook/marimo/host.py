"""The host of a marimo notebook: its cells may wait, and its widgets are shown by marimo itself."""

import sys
from types import FrameType
from typing import Any

from scaler_notebook.client.waiting.host import PlainHost, install_host


class MarimoHost(PlainHost):
    """Implements :class:`scaler_notebook.client.waiting.host.Host` for the kernel of a marimo notebook.

    A cell blocks there as a script does: marimo has no seam by which its front end is served meanwhile.

    Attributes
    ----------
    our_comms
        The comm ids of the widgets of our views.
    """

    waits_at_exit = False
    prints_output = False
    shows_results = True
    takes_whole_modules = True  # it keeps them as files, and has a shadow root with a style of its own for each widget

    def __init__(self) -> None:
        self.our_comms: set[str] = set()

    def is_cell(self, frame: FrameType) -> bool:
        """Return whether a frame executes a cell."""
        module = frame.f_globals.get("__name__", "")
        return module.startswith("marimo._runtime.") and frame.f_code.co_name.startswith("execute_cell")

    def widget(self, shown: Any) -> Any:
        """Create the widget of a future or a group."""
        from scaler_notebook.notebook import widget_factory

        return widget_factory.make_widget(shown, self)


def activate() -> None:
    """Have futures displayed as cards, if this is the kernel of a marimo notebook."""
    if sys.modules["marimo"].running_in_notebook():
        install_host(MarimoHost())
