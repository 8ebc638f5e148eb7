"""Functions that show and clear MIME bundles among the current task's output."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from scaler_notebook.protocol.messages import DisplayKind
from scaler_notebook.task.current_task import current_task

# A widget's model and comm live in the process that made them, so in the notebook the widget would stay empty.
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def publish(
    bundle: Mapping[str, Any], metadata: Mapping[str, Any] | None = None, *, display_id: str = "", update: bool = False
) -> None:
    """Show a MIME bundle among the current task's output, and in ``future.displays``. Outside of a task do nothing.

    Parameters
    ----------
    bundle
        The data by MIME type, as for IPython's ``display(..., raw=True)``; bytes become base64 text. Widgets are
        omitted.
    metadata
        As for IPython.
    display_id
        The id by which the display can be updated later.
    update
        Change what was displayed under this ``display_id``, instead of showing it anew.

    Raises
    ------
    ValueError
        The bundle refers to itself.
    """
    kept = {mime: data for mime, data in bundle.items() if mime != WIDGET_VIEW}
    if kept or not bundle:  # an empty one with a display_id is a place for later
        kind = DisplayKind.UPDATE if update else DisplayKind.SHOW
        current_task().publisher(kind, display_id, as_json(kept), as_json(dict(metadata or {})))


def clear(wait: bool = False) -> None:
    """Clear what the task wrote and displayed, as IPython's ``clear_output`` does. ``future.logs`` retains the text.

    Parameters
    ----------
    wait
        Clear only when something new comes.
    """
    current_task().publisher(DisplayKind.CLEAR_ON_NEXT if wait else DisplayKind.CLEAR, "", b"{}", b"{}")


def as_json(value: dict[str, Any]) -> bytes:
    """Return a bundle as JSON in UTF-8."""
    return json.dumps(value, default=_plain, skipkeys=True).encode()


def _plain(value: Any) -> Any:
    """Convert a value that JSON has no form for, as ipykernel's ``json_clean`` does."""
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, set | frozenset):
        return list(value)
    return value.item() if hasattr(value, "item") else str(value)  # a number of numpy's
