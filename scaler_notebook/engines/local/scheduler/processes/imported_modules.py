"""The scheduler's side of the user's modules: which of them a task process has imported, and for whom it is fit."""

import json
import os
from functools import lru_cache

from scaler_notebook.engines.local.ipc.messages import where_modules_are_found
from scaler_notebook.protocol.messages import ClientContext
from scaler_notebook.task.modules.installation import file_stamp


class ImportedModules:
    """What one task process has imported of the user's modules: such a process keeps what it found first."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, str]] = {}  # by name: location, and the stamp of its file

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, own: tuple[str, ...]) -> None:
        """Note what a run has imported, as :class:`~scaler_notebook.engines.local.ipc.messages.Ended` has it."""
        for name, where, stamp in zip(own[::3], own[1::3], own[2::3], strict=False):
            self._found[name] = where, stamp

    def suit(self, last: ClientContext | None, context: ClientContext | None) -> bool:
        """Would a process that was in the context ``last`` import in ``context`` the very modules that it has?

        A module that the client has itself must be of the same file, as that was when the client imported it. What the
        client does not have would be looked for: in the same places, and in a file that was not edited since.
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
    """By name, where a client has its modules, and the stamps of their files; from :attr:`ClientContext.modules`."""
    try:
        found = json.loads(modules) if modules else {}
        return {
            name: (file or os.pathsep.join(directories), stamp)
            for name, (_, file, stamp, _, *directories) in found.items()
        }
    except (ValueError, AttributeError, TypeError):  # a client may say what it likes
        return {}
