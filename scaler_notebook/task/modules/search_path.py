"""The search path of modules, in a form that can be sent to other processes."""

import sys


def search_path() -> list[str]:
    """Return the entries of ``sys.path`` that are text; Python ignores others, such as a ``pathlib.Path``."""
    return [entry for entry in list(sys.path) if isinstance(entry, str) and "\0" not in entry]
