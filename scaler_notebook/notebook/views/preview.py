"""Requests for previews of results: a view that shows a result needs one, and makes none in the kernel.

No ``repr`` runs in the kernel for a view, and nothing is unpickled there.
"""

from functools import partial
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.protocol.messages import PreviewKind

from .publisher import publisher

FOLLOWS_WITHIN = 1.0  # seconds in which an announced preview comes, unless the task process has ended before


def ask(future: ScalerFuture[Any]) -> None:
    """Request the preview of a future's result, unless somebody has; the future's watchers are called when it is there.

    To be called when a view shows a future that has ended; on any thread, never blocks.
    """
    if not future.lacks_preview or future.preview_requested:
        return
    future.preview_requested = True
    if future.summary.preview is PreviewKind.FOLLOWS:
        publisher.call_later(FOLLOWS_WITHIN, partial(_request, future))
    else:
        _request(future)


def _request(future: ScalerFuture[Any]) -> None:
    """Request a preview now, if it has not come by itself."""
    if future.lacks_preview and future.session is not None:
        future.session.request_preview(future)
