"""What the kernel's code sees around it, so that a task sees the same: directory, path, settings, modules."""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import process
from typing import Any, TypeAlias

from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.protocol.messages import ClientContext, Initializer
from scaler_notebook.task.modules.search_path import search_path

from .notebook_settings import NotebookSettings
from .user_modules import USER_MODULES

Seen: TypeAlias = tuple[object, ...]


class ContextTracker:
    """Notices, at a submit, what has changed since the last one.

    Parameters
    ----------
    initializer
        What comes before the first task in each process.
    """

    def __init__(self, initializer: Initializer) -> None:
        self._initializer = initializer
        self._seen: Seen = ()
        self._settings = NotebookSettings()

    def changes(self) -> tuple[ClientContext | None, Seen]:
        """The new surroundings, and what to give :meth:`told` once they are sent; None if they are those sent last.

        Costs some microseconds.
        """
        try:
            directory = os.getcwd()
        except FileNotFoundError:
            directory = ""
        modules = USER_MODULES.text  # as of when the task was pickled
        # The mapping behind os.environ, where there is one: a copy of it costs a tenth of decoding everything.
        environment: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)
        authkey = bytes(process.current_process().authkey)
        values = self._settings.values()
        shows = current_host().shows_results
        seen = (directory, sys.path, modules, environment, authkey, values, shows)
        with suppress(Exception):  # of values that cannot be compared, arrays say
            if self._seen == seen:
                return None, self._seen
        seen = (directory, list(sys.path), modules, dict(environment), authkey, values, shows)
        variables = tuple(f"{name}={value}" for name, value in os.environ.items())
        settings = self._settings.encoded()
        initializer = self._initializer
        context = ClientContext(directory, _path(), variables, modules, initializer, authkey, settings, shows)
        return context, seen

    def mark_sent(self, seen: Seen) -> None:
        """These surroundings are on their way to the engine."""
        self._seen = seen


def _path() -> tuple[str, ...]:
    """``sys.path`` as imports see it: what is no text counts for nothing, and what is relative leads somewhere."""
    return tuple(map(_absolute, search_path()))


def _absolute(entry: str) -> str:
    """An entry of ``sys.path``; one that is relative leads to where it led when it was first used.

    The empty one alone is always the directory of now, in a task too.
    """
    if not entry or os.path.isabs(entry):
        return entry
    used = getattr(sys.path_importer_cache.get(entry), "path", "")
    try:
        return used if os.path.isabs(used) else os.path.abspath(entry)
    except FileNotFoundError:
        return entry
