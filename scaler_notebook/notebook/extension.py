"""``%load_ext scaler_notebook``."""

from typing import Any

from . import session_executor
from .bridge import activate
from .magics import ScalerMagics


def load_ipython_extension(shell: Any) -> None:
    """Register ``%scaler``; in a kernel also cards and the wait that keeps it alive."""
    if hasattr(shell, "kernel"):
        activate(shell)
    shell.register_magics(ScalerMagics)


def unload_ipython_extension(shell: Any) -> None:
    """Remove ``%scaler`` and end the engine that it started; executors that the user made are the user's."""
    shell.magics_manager.magics["line"].pop("scaler", None)
    session_executor.end()
