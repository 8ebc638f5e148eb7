"""A moment for a task that ends at once, before it is shown: what is over needs no view that lives for a blink."""

from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.signal import Signal


def settle(future: ScalerFuture[Any], patience: float) -> bool:
    """Wait until it has ended, at most ``patience`` seconds; False if the stop button has ended this wait."""
    over = Signal()

    def on_change(_: object) -> None:
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
