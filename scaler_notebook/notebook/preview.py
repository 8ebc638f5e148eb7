"""A result as a person sees it, made where the user's code belongs."""

import base64
from collections.abc import Callable
from typing import Any

from ..client.future import ScalerFuture
from ..client.lifecycle import TaskLifecycle
from .bridge import KernelHost

PREVIEW_BYTES = 1_000_000  # a larger result is not loaded only to be shown
PREVIEW_TEXT = 2_000  # characters
PREVIEW_RICH = 200_000  # characters of HTML, an image's included


class Preview:
    """The result of one future as text, and as HTML if it has a rich display, once it is there and somebody has asked.

    A ``repr`` is the user's code: it runs in the kernel's loop, and no badge waits for it.
    """

    def __init__(self, future: ScalerFuture[Any], host: KernelHost) -> None:
        self.text: str | None = None
        self.html: str | None = None
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
        if not self._asked and future.shows_result and not future.failed and not future.cancelled():
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
        try:
            self.html = _rich(value, self._host.shell.display_formatter.formatters)
        except Exception:  # its own display is broken; its text says enough
            self.html = None
        for watcher in self._watchers:
            watcher(self._future)


def _rich(value: Any, formatters: Any) -> str | None:
    """The HTML that a value declares as its display, or its image.

    Not by the shell's own ``format``, which runs an ``_ipython_display_`` and prints what goes wrong.
    """
    for mime in ("text/html", "image/svg+xml", "image/png"):
        formatter = formatters[mime]
        try:
            data = formatter.lookup(value)(value)
        except KeyError:
            method = getattr(value, formatter.print_method, None) if not isinstance(value, type) else None
            data = method() if callable(method) else None
        if isinstance(data, tuple):
            data = data[0]  # with metadata
        if data is None:
            continue
        if mime != "text/html":
            encoded = base64.b64encode(data if isinstance(data, bytes) else str(data).encode(errors="replace")).decode()
            data = f'<img alt="" style="max-width:100%" src="data:{mime};base64,{encoded}">'
        return str(data) if len(data) <= PREVIEW_RICH else None
    return None
