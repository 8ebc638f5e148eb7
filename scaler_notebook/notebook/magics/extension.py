"""The IPython extension: ``%load_ext scaler_notebook``."""

from typing import Any

from scaler_notebook.client.session_log import history
from scaler_notebook.notebook.activation import activate

from . import completion, session_executor, terminal
from .magics import ScalerMagics


def load_ipython_extension(shell: Any) -> None:
    """Register the magics, and how futures are displayed: as cards in a kernel, as text in a terminal."""
    if hasattr(shell, "kernel"):
        activate(shell)
    else:
        terminal.activate(shell)
    history.session.begin()
    shell.register_magics(ScalerMagics)
    completion.install(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Remove ``%scaler`` and end the engine that it started. The user's own executors stay."""
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("scaler", None)
    completion.remove(shell)
    session_executor.shut_down()
    history.session.end()
