"""``%load_ext scaler_notebook``."""

from typing import Any

from ..client import history
from . import completion, session_executor
from .bridge import activate
from .magics import ScalerMagics


def load_ipython_extension(shell: Any) -> None:
    """Register ``%scaler``; in a kernel also cards and the wait that keeps it alive."""
    if hasattr(shell, "kernel"):
        activate(shell)
    history.session.begin()
    shell.register_magics(ScalerMagics)
    completion.install(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Remove ``%scaler`` and end the engine that it started; executors that the user made are the user's."""
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("scaler", None)
    completion.remove(shell)
    session_executor.end()
    history.session.end()
