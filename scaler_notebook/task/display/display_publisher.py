"""Show and clear MIME bundles among the current task's output."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from scaler_notebook.protocol.messages import DisplayKind
from scaler_notebook.task.current_task import current_task

# The model of a widget lives in the process that made it, and so does its comm: in the notebook it would stay empty.
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def publish(
    bundle: Mapping[str, Any], metadata: Mapping[str, Any] | None = None, *, display_id: str = "", update: bool = False
) -> None:
    """Show a MIME bundle among the current task's output: in ``future.displays``. Outside of a task it does nothing.

    Parameters
    ----------
    bundle
        By MIME type, as for IPython's ``display(..., raw=True)``; bytes become base64 text. Widgets are left out.
    metadata
        As for IPython.
    display_id
        To be updated by, later on.
    update
        Change what was displayed under this ``display_id``, instead of showing it anew.

    Raises
    ------
    ValueError
        It refers to itself.
    """
    kept = {mime: data for mime, data in bundle.items() if mime != WIDGET_VIEW}
    if kept or not bundle:  # an empty one with a display_id is a place for later
        kind = DisplayKind.UPDATE if update else DisplayKind.SHOW
        current_task().publisher(kind, display_id, as_json(kept), as_json(dict(metadata or {})))


def clear(wait: bool = False) -> None:
    """IPython's ``clear_output``: what the task wrote and displayed is shown no more. ``future.logs`` keeps its text.

    Parameters
    ----------
    wait
        Only when something new comes.
    """
    current_task().publisher(DisplayKind.CLEAR_ON_NEXT if wait else DisplayKind.CLEAR, "", b"{}", b"{}")


def as_json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, default=_plain, skipkeys=True).encode()


def _plain(value: Any) -> Any:
    """What ipykernel's ``json_clean`` does to what JSON has no form for."""
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, set | frozenset):
        return list(value)
    return value.item() if hasattr(value, "item") else str(value)  # a number of numpy's
