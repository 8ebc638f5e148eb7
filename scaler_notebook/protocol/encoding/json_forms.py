"""The forms in JSON that programs read: of documents with a version, of values and of failures.

Within a version names are added, and none changes its meaning. Times are seconds since the epoch. What a task has
written or returned may have lone surrogates, as names of files that are no UTF-8 have; UTF-8 has none, and so they are
escaped.
"""

import json
import traceback
from collections.abc import Callable
from typing import Any

VERSION = 1
MAX_DEPTH = 100  # of lists and dictionaries in a value: not every program reads those that nest deeper


def document(**names: Any) -> str:
    """Return a document with these names, as a text."""
    return json.dumps({"version": VERSION, **escaped(names)}, indent=2)


def value_form(value: Any, limit: int | None = None) -> dict[str, Any]:
    """Return the form of a task's value: ``text``, its ``repr``, and ``value`` where JSON has it as it is.

    The form is made of JSON's own types alone, so that who reads it imports nothing of the project's.

    Parameters
    ----------
    value
        The value.
    limit
        The number of characters from which on a text is cut, and a value left out; None for any number.
    """
    form: dict[str, Any] = {"text": shortened(text_of(value), limit)}
    try:
        text = json.dumps(value, allow_nan=False)
        if (limit is None or len(text) <= limit) and (plain := json.loads(text)) == value:
            form["value"] = escaped(plain, MAX_DEPTH)
    except Exception:  # whatever a value's own methods raise: it is none that JSON has
        pass
    return form


def failure_form(error: BaseException) -> dict[str, Any]:
    """Return the form of a task's exception: its type, its message and its traceback."""
    lines = text_of(error, _formatted)
    return {"type": type(error).__qualname__, "message": text_of(error, str), "traceback": lines}


def _formatted(error: BaseException) -> str:
    """Return a traceback as Python prints it; before 3.13 that may raise what a ``__getattr__`` of the error raises."""
    return "".join(traceback.format_exception(error))


def text_of(value: Any, write: Callable[[Any], str] = repr) -> str:
    """Return what a value's own method writes of it, or which error that method raises; in either case a plain text.

    Parameters
    ----------
    value
        The value.
    write
        ``repr``, ``str``, or a function of the kind.
    """
    try:
        text = write(value)
    except Exception as error:  # a method of the user's, an integer with too many digits, lists that nest too deeply
        why = traceback.format_exception_only(type(error), error)[-1].strip()
        text = f"<{type(value).__qualname__}: {write.__name__}() raises {why}>"
    return str.encode(text, errors="backslashreplace").decode()


def escaped(form: Any, depth: int = 2 * MAX_DEPTH) -> Any:
    """Return a form with the lone surrogates in its texts escaped.

    Parameters
    ----------
    form
        The form.
    depth
        How many lists and dictionaries may nest in it.

    Raises
    ------
    ValueError
        It nests more deeply.
    """
    if isinstance(form, str):
        return form if form.isascii() else form.encode(errors="backslashreplace").decode()
    if not isinstance(form, list | tuple | dict):
        return form
    if not depth:
        raise ValueError("a form that nests too deeply")
    if isinstance(form, dict):
        return {escaped(name): escaped(value, depth - 1) for name, value in form.items()}
    return [escaped(item, depth - 1) for item in form]


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
