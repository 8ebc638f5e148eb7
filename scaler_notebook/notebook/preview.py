"""A result as a person sees it, made where the user's code belongs."""

from collections.abc import Callable
from typing import Any

from ..client.future import ScalerFuture
from ..client.lifecycle import TaskLifecycle
from .bridge import KernelHost

PREVIEW_BYTES = 1_000_000  # a larger result is not loaded only to be shown
PREVIEW_TEXT = 2_000  # characters


class Preview:
    """The result of one future as text, once it has one and somebody has asked.

    A ``repr`` is the user's code: it runs in the kernel's loop, and no badge waits for it.
    """

    def __init__(self, future: ScalerFuture[Any], host: KernelHost) -> None:
        self.text: str | None = None
        self._future = future
        self._host = host
        self._asked = False
        self._watchers: list[Callable[[TaskLifecycle], None]] = []

    def watch(self, watcher: Callable[[TaskLifecycle], None]) -> None:
        """Call ``watcher(future)`` when it is there."""
        self._watchers.append(watcher)

    def ask(self) -> None:
        """Have it made, if there is a result that is not too large; once."""
        future = self._future
        if not self._asked and not future.failed and not future.cancelled():
            self._asked = True
            if future.result_bytes <= PREVIEW_BYTES:
                self._host.post(self._make)

    def _make(self) -> None:
        try:
            value = self._future.result(0)
        except Exception:
            return  # discarded meanwhile, or it does not load; whoever asks for the result is told
        if value is None:
            return
        try:
            text = repr(value)
        except Exception as error:
            text = f"<{type(value).__name__}, whose repr raised {error!r}>"
        self.text = text if len(text) <= PREVIEW_TEXT else text[: PREVIEW_TEXT - 1] + "…"
        for watcher in self._watchers:
            watcher(self._future)
