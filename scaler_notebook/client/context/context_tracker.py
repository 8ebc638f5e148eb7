"""The context of a client's tasks: what the kernel's code sees around it (directory, path, settings, modules)."""

import os
import sys
from collections.abc import Mapping
from multiprocessing import process
from typing import Any, TypeAlias

from scaler_notebook.client.system_calls import working_directory
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.protocol.messages import ClientContext, Initializer
from scaler_notebook.task.modules.search_path import search_path

from .notebook_settings import NotebookSettings
from .user_modules import USER_MODULES

Seen: TypeAlias = tuple[object, ...]


class ContextTracker:
    """Notices, at a submit, what has changed of the context since it was last sent.

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
        """Return the new context, None if it is the one sent last, and what to give :meth:`mark_sent` after sending.

        Costs some microseconds.
        """
        try:
            directory = working_directory()
        except FileNotFoundError:
            directory = ""
        modules = USER_MODULES.text  # as of the time when the task was pickled
        # The mapping behind os.environ, where there is one: a copy of it costs a tenth of decoding everything.
        environment: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)
        authkey = bytes(process.current_process().authkey)
        values = self._settings.values()
        shows = current_host().shows_results
        seen = (directory, sys.path, modules, environment, authkey, values, shows)
        try:
            if self._seen == seen:
                return None, self._seen
        except Exception:  # values that cannot be compared, such as arrays
            pass
        seen = (directory, list(sys.path), modules, dict(environment), authkey, values, shows)
        variables = tuple(f"{name}={value}" for name, value in os.environ.items())
        settings = self._settings.encoded()
        initializer = self._initializer
        context = ClientContext(directory, _path(), variables, modules, initializer, authkey, settings, shows)
        return context, seen

    def mark_sent(self, seen: Seen) -> None:
        """Note that a context is on its way to the engine.

        Parameters
        ----------
        seen
            What :meth:`changes` has returned with the context.
        """
        self._seen = seen


def _path() -> tuple[str, ...]:
    """Return ``sys.path`` as imports see it: without entries that are no text, and with relative ones made absolute."""
    return tuple(map(_absolute, search_path()))


def _absolute(entry: str) -> str:
    """Return an entry of ``sys.path`` as an absolute path; a relative one leads to where it led when it was first used.

    The empty entry alone stays relative: it is the current directory, in a task too.
    """
    if not entry or os.path.isabs(entry):
        return entry
    used = getattr(sys.path_importer_cache.get(entry), "path", "")
    try:
        return used if os.path.isabs(used) else os.path.abspath(entry)
    except FileNotFoundError:
        return entry
