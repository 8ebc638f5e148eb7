"""Which of the user's modules a task process has imported, and which clients' tasks can run there."""

import json
import os
from functools import lru_cache

from scaler_notebook.engines.local.ipc.messages import where_modules_are_found
from scaler_notebook.protocol.messages import ClientContext
from scaler_notebook.task.modules.installation import file_stamp


class ImportedModules:
    """The user's modules that one task process has imported; a process never imports another file of the same name."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, str]] = {}  # by name: location, and the stamp of its file

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, own: tuple[str, ...]) -> None:
        """Add what a run has imported, as in :attr:`~scaler_notebook.engines.local.ipc.messages.RunFinished.own`."""
        for name, where, stamp in zip(own[::3], own[1::3], own[2::3], strict=False):
            self._found[name] = where, stamp

    def suit(self, last: ClientContext | None, context: ClientContext | None) -> bool:
        """Return whether a task of a context, in a fresh process, would import the same modules that this process has.

        A module that the client itself has imported must be of the same file, unchanged since the client's import. Any
        other module must be found in the same places, in a file that was not edited since.

        Parameters
        ----------
        last
            The context that the process is in; None for none.
        context
            The context of the task; None for none.
        """
        if last is None or context is None:
            return True
        clients = versions(context.modules)
        same_places = context is last or where_modules_are_found(last) == where_modules_are_found(context)
        for name, (where, stamp) in self._found.items():
            if name in clients:
                if clients[name] != (where, stamp):
                    return False
            elif not same_places or (stamp and stamp != file_stamp(where)):
                return False
        return True


@lru_cache(16)
def versions(modules: str) -> dict[str, tuple[str, str]]:
    """Return, by name, location and file stamp of each module that a client has imported.

    Parameters
    ----------
    modules
        As in :attr:`~scaler_notebook.protocol.messages.ClientContext.modules`.
    """
    try:
        found = json.loads(modules) if modules else {}
        return {
            name: (file or os.pathsep.join(directories), stamp)
            for name, (_, file, stamp, _, *directories) in found.items()
        }
    except (ValueError, AttributeError, TypeError):  # a client may send anything
        return {}
