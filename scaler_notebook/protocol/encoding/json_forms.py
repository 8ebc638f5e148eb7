"""The forms in JSON that programs read: of documents with a version, of values and of failures.

Within a version names are added, and none changes its meaning. Times are seconds since the epoch. What a task has
written may have lone surrogates; they are escaped, as JSON can.
"""

import json
import traceback
from typing import Any

VERSION = 1


def document(**names: Any) -> str:
    """Return a document with these names, as a text."""
    return json.dumps({"version": VERSION, **names}, indent=2)


def value_form(value: Any, limit: int | None = None) -> dict[str, Any]:
    """Return the form of a task's value: ``text``, its ``repr``, and ``value`` where JSON has it as it is.

    Parameters
    ----------
    value
        The value.
    limit
        The number of characters from which on a text is cut, and a value left out; None for any number.
    """
    form: dict[str, Any] = {"text": shortened(repr(value), limit)}
    try:
        text = json.dumps(value, allow_nan=False)
        if json.loads(text) == value and (limit is None or len(text) <= limit):
            form["value"] = value
    except Exception:  # whatever a value's own methods raise: it is none that JSON has
        pass
    return form


def failure_form(error: BaseException) -> dict[str, Any]:
    """Return the form of a task's exception: its type, its message and its traceback."""
    lines = "".join(traceback.format_exception(error))
    return {"type": type(error).__qualname__, "message": str(error), "traceback": lines}


def shortened(text: str, limit: int | None) -> str:
    """Return a text, or its beginning with the number of characters that are left out.

    Parameters
    ----------
    text
        The text.
    limit
        The number of characters that are kept; None for all.
    """
    if limit is None or len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit} more characters)"
