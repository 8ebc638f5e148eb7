"""Where modules are searched for, as other processes can be told it."""

import os
import sys


def search_path() -> list[str]:
    """The entries of ``sys.path`` as texts: paths of any kind become one, and what is no path is left out."""
    return [text for entry in list(sys.path) if (text := _as_text(entry)) is not None]


def _as_text(entry: object) -> str | None:
    try:
        text = os.fsdecode(entry)  # type: ignore[arg-type]  # it refuses what is no path
    except Exception:  # a path of the user's own may raise anything
        return None
    return text if "\0" not in text else None
