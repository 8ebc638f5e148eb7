"""The scheduler's side of the user's modules: which of them a task process has imported, and for whom it is fit."""

import json
from functools import lru_cache

from ...protocol.installation import file_stamp
from ...protocol.messages import ClientContext
from .inner import where_modules_are_found


class OwnModules:
    """What one task process has imported of the user's modules: such a process keeps what it found first."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, str]] = {}  # by name: location, and the stamp of its file

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, own: tuple[str, ...]) -> None:
        """Note what a run has imported, as :class:`~.inner.Ended` has it."""
        for name, where, stamp in zip(own[::3], own[1::3], own[2::3], strict=False):
            self._found[name] = where, stamp

    def suit(self, last: ClientContext | None, context: ClientContext | None) -> bool:
        """Would a process that was in the context ``last`` import in ``context`` the very modules that it has?

        A module that the client has itself must be of the same file. What it does not have would be looked for, so it
        must be looked for in the same places. And no file may have been edited since.
        """
        if last is None or context is None:
            return True
        if context is not last:
            there = _locations(context.modules)
            same_places = where_modules_are_found(last) == where_modules_are_found(context)
            for name, (where, _) in self._found.items():
                if there[name] != where if name in there else not same_places:
                    return False
        return all(stamp == file_stamp(where) for where, stamp in self._found.values())


@lru_cache(16)
def _locations(modules: str) -> dict[str, str | None]:
    """By name, where a client has its modules; None if a task cannot have one as the client does."""
    try:
        found = json.loads(modules) if modules else {}
        return {name: None if isinstance(where, str) else where[0] or where[1:] for name, where in found.items()}
    except (ValueError, AttributeError, TypeError, LookupError):
        return {}
