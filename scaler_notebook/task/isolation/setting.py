"""A setting of a process: how it is read and written, and what becomes of its value when an import changes it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from .expressions import Expression

T = TypeVar("T")


class CannotRestoreError(Exception):
    """A setting cannot be restored: the process is of no use to the next task. Raised by :attr:`Setting.write`."""


def _the_later(wanted: Any, before: Any, after: Any) -> Any:
    """Return the value that an import, or an initializer, has set.

    Parameters
    ----------
    wanted, before, after
        As ``merge`` of :class:`Setting` takes them.
    """
    return after


class Setting(NamedTuple):
    """One setting of this process.

    Parameters
    ----------
    name
        The name by which a client's own value of the setting is known.
    read
        Returns the current value, which later changes do not touch; values are compared with ``==``.
    write
        Sets a value that ``read`` has returned. Called only if the value differs.
    merge
        ``merge(wanted, before, after)`` returns the value to restore from now on, where an import (or an initializer)
        has changed the value from ``before`` to ``after``, and ``wanted`` was to be restored up to then.
    look
        Gives the same as ``read`` for a comparison at once: without a copy, and perhaps as an :class:`Expression`. It
        may raise an exception where the value differs. None for ``read`` itself.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    merge: Callable[[Any, Any, Any], Any] = _the_later
    look: Callable[[], Any] | None = None


class CopiedMapping:
    """A large mapping that is read often, and copied only when it has changed.

    To compare the values takes a fifth of the time of copying them.

    Parameters
    ----------
    mapping
        The mapping.
    """

    def __init__(self, mapping: dict[Any, Any]) -> None:
        self._mapping = mapping
        self._values: list[Any] = []
        self._copy: dict[Any, Any] = {}

    @property
    def look(self) -> Expression:
        """A copy, as :meth:`read` returns it, as an expression."""
        values = "[*{values}({mapping})]"
        text = f"{{it}}._copy if {values} == {{it}}._values else {{it}}.read()"
        return Expression(text, it=self, values=dict.values, mapping=self._mapping)

    def read(self) -> dict[Any, Any]:
        """Return a copy, not to be changed."""
        values = [*dict.values(self._mapping)]
        if values != self._values:
            self._values, self._copy = values, dict(dict.items(self._mapping))
        return self._copy


def merged_mapping(wanted: Mapping[Any, Any], before: Mapping[Any, Any], after: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return ``wanted`` with the items that differ between ``before`` and ``after`` as they are in ``after``.

    Parameters
    ----------
    wanted
        The mapping to restore up to now.
    before, after
        The mapping before and after an import or initializer.
    """
    merged = {name: value for name, value in wanted.items() if name in after or name not in before}
    merged.update((name, value) for name, value in after.items() if name not in before or before[name] != value)
    return merged


def merged_list(wanted: Iterable[T], before: Iterable[T], after: Iterable[T]) -> list[T]:
    """Return ``wanted`` with entries added and removed as between ``before`` and ``after``.

    Entries that are new in ``after`` come first or last, as they do there.

    Parameters
    ----------
    wanted
        The list to restore up to now.
    before, after
        The list before and after an import or initializer.
    """
    wanted, before, after = list(wanted), list(before), list(after)
    common = next((place for place, entry in enumerate(after) if entry in before), 0)
    parts = after[:common], after[common:]
    new = [[entry for entry in part if entry not in before and entry not in wanted] for part in parts]
    return [*new[0], *(entry for entry in wanted if entry in after or entry not in before), *new[1]]


def merged_tuple(wanted: tuple[Any, ...], before: tuple[Any, ...], after: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return ``wanted`` with the values that differ between ``before`` and ``after`` as they are in ``after``.

    Parameters
    ----------
    wanted
        The values to restore up to now.
    before, after
        The values before and after an import or initializer.
    """
    merged = zip(wanted, before, after, strict=True)
    return tuple(value if old == new else new for value, old, new in merged)
