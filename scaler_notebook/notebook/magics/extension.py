"""``%load_ext scaler_notebook``."""

from typing import Any

from scaler_notebook.client.session_log import history
from scaler_notebook.notebook.activation import activate

from . import completion, session_executor, terminal
from .magics import ScalerMagics


def load_ipython_extension(shell: Any) -> None:
    """Register the magics, and what futures look like: cards in a kernel, text in a terminal."""
    if hasattr(shell, "kernel"):
        activate(shell)
    else:
        terminal.activate(shell)
    history.session.begin()
    shell.register_magics(ScalerMagics)
    completion.install(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Remove ``%scaler`` and end the engine that it started; executors that the user made are the user's."""
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("scaler", None)
    completion.remove(shell)
    session_executor.shut_down()
    history.session.end()
