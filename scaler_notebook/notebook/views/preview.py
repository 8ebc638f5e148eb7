"""When a view wants to know what a result looks like: no ``repr`` and no unpickling runs in the kernel for that."""

from functools import partial
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.protocol.messages import PreviewKind

from .publisher import publisher

FOLLOWS_WITHIN = 1.0  # seconds in which a preview comes that was announced, unless its process has ended before


def ask(future: ScalerFuture[Any]) -> None:
    """A view shows this future, which has ended: have what is to be seen of its result made, if nobody has; once.

    Its watchers are told when the preview is there. On any thread; never blocks.
    """
    if not future.lacks_preview or future.preview_requested:
        return
    future.preview_requested = True
    if future.summary.preview is PreviewKind.FOLLOWS:
        publisher.call_later(FOLLOWS_WITHIN, partial(_request, future))
    else:
        _request(future)


def _request(future: ScalerFuture[Any]) -> None:
    if future.lacks_preview and future.session is not None:
        future.session.request_preview(future)
