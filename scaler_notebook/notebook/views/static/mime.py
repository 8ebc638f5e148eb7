"""The HTML and the text of a task's displays, for its card."""

import base64
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from scaler_notebook.client.submission.call_text import for_browsers
from scaler_notebook.client.task_state.output import Display, Piece

from . import static_html

RENDERED = ("text/markdown", "text/latex")  # where there is no HTML: JupyterLab prefers them to pictures
RENDERED_LAST = ("application/json", "application/pdf")  # where there is no picture either
IMAGES = ("image/svg+xml", "image/png", "image/jpeg", "image/gif", "image/webp")
MAX_TEXT = 16_000  # characters of text between two displays


def sendable(value: Any) -> Any:
    """Replace lone surrogates in a message's content, which no message of a kernel can carry."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return for_browsers(value)
        return value
    if isinstance(value, Mapping):
        return {sendable(key): sendable(each) for key, each in value.items()}
    return [sendable(each) for each in value] if isinstance(value, list | tuple) else value


def is_native(display: Display) -> bool:
    """Return whether only the front end can show a display: by a renderer (plotly's, Markdown's), or by a script."""
    bundle = display.bundle
    if any(mime.startswith("application/") and mime.endswith("+json") for mime in bundle):
        return True
    if "text/html" in bundle:
        return "<script" in _joined_text(bundle["text/html"])
    if any(mime in bundle for mime in RENDERED):
        return True
    return not _has_picture(display) and any(mime in bundle for mime in RENDERED_LAST)


def html(pieces: Iterable[Piece], alone: bool = False) -> str:
    """Convert text and displays to HTML, in order.

    Parameters
    ----------
    pieces
        The text and the displays.
    alone
        Whether this is all that is shown: then displays that the front end itself is to render have their picture here,
        or their text. Else they are left out.
    """
    parts = []
    for piece in pieces:
        if not isinstance(piece, Display):
            text = piece[1][-MAX_TEXT:]
            if text.strip():
                parts.append(static_html.terminal_block(text))
        elif alone or not is_native(piece):
            parts.append(f'<div style="overflow-x:auto">{_display_html(piece)}</div>')
    return "\n".join(parts)


def has_form(display: Display, alone: bool = False) -> bool:
    """Return whether a display has a form beside its text that :func:`html` shows.

    Parameters
    ----------
    display
        The display.
    alone
        As for :func:`html`.
    """
    if is_native(display):
        return alone and _has_picture(display)
    return "text/html" in display.bundle or _has_picture(display)


def _has_picture(display: Display) -> bool:
    """Return whether one of a display's forms is a picture."""
    return any(mime in display.bundle for mime in IMAGES)


def text(display: Display) -> str:
    """Return the plain text of a display."""
    return _joined_text(display.bundle.get("text/plain", "")) or "[a display]"


def _display_html(display: Display) -> str:
    """Convert a display to HTML, by the best of its forms."""
    bundle = display.bundle
    if "text/html" in bundle and not is_native(display):
        return _joined_text(bundle["text/html"])
    for mime in IMAGES:
        if mime in bundle:
            return _image_html(
                mime, _joined_text(bundle[mime]), display.metadata.get(mime), _joined_text(bundle.get("text/plain", ""))
            )
    return static_html.terminal_block(
        _joined_text(bundle.get("text/plain", "")) or "[a display without a form for this card]"
    )


def _image_html(mime: str, data: str, metadata: Any, words: str) -> str:
    """Write an image as HTML.

    Parameters
    ----------
    mime
        The MIME type.
    data
        The image: base64, or the source of an SVG.
    metadata
        What IPython knows about the image: perhaps its width and height, in pixels.
    words
        The text for those who do not see the image.
    """
    if mime == "image/svg+xml":
        data = base64.b64encode(data.encode(errors="replace")).decode()
    data = re.sub(r"\s", "", data)
    size = ""
    if isinstance(metadata, Mapping):
        sizes = [(key, metadata.get(key)) for key in ("width", "height")]
        size = "".join(f' {key}="{value}"' for key, value in sizes if isinstance(value, int | float))
    return f'<img alt="{escape(words)}" style="max-width:100%"{size} src="data:{mime};base64,{escape(data)}">'


def _joined_text(data: Any) -> str:
    """Return a form as one text; a notebook's file may have a list of lines."""
    return "".join(map(str, data)) if isinstance(data, list) else str(data)
