"""A short wait for a task that ends at once, so that no live view is made for it."""

from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.signal import Signal


def settle(future: ScalerFuture[Any], patience: float) -> bool:
    """Wait until a future is done.

    Parameters
    ----------
    future
        The future.
    patience
        The longest wait, in seconds.

    Returns
    -------
    bool
        False if the stop button has ended the wait.
    """
    over = Signal()

    def on_change(_: object) -> None:
        """End the wait if the future is done."""
        if future.done():
            over.set()

    future.watch(on_change)
    try:
        on_change(future)
        if patience > 0:
            current_host().wait(over, patience)
        return True
    except KeyboardInterrupt:
        return False
    finally:
        future.unwatch(on_change)
