"""Where modules are searched for, as other processes can be told it."""

import sys


def search_path() -> list[str]:
    """The entries of ``sys.path`` that count: Python passes over what is no text, a ``pathlib.Path`` for one."""
    return [entry for entry in list(sys.path) if isinstance(entry, str) and "\0" not in entry]
