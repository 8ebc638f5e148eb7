"""What a task changes by calling a function, where comparing would be dear: the calls are noted.

The state of a random generator takes 20 microseconds to read, the limits of a process ten; whether a function was
called is known for nothing. The functions are replaced where they are defined, before the user's code can import them.
"""

import functools
import random
from collections.abc import Callable
from typing import Any

from .process_settings import Setting


def note_calls(
    holders: tuple[Any, ...],
    names: tuple[str, ...],
    before: Callable[[], object] | None = None,
    after: Callable[[], object] | None = None,
) -> None:
    """Have functions tell of their calls.

    Parameters
    ----------
    holders
        The modules that have them. Names that the first one does not have are left out.
    names
        The functions' names.
    before, after
        Called before and after each of their calls.
    """
    for name in names:
        if (function := getattr(holders[0], name, None)) is not None:
            noted = _noted(function, before, after)
            for holder in holders:
                if hasattr(holder, name):
                    setattr(holder, name, noted)


def _noted(
    function: Callable[..., Any], before: Callable[[], object] | None, after: Callable[[], object] | None
) -> Callable[..., Any]:
    @functools.wraps(function)
    def noted(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if before is not None:
            before()
        try:
            return function(*args, **kwargs)
        finally:
            if after is not None:
                after()

    return noted


class NotedValue:
    """A value that changes by the calls of some functions alone: it is read again only after one.

    Parameters
    ----------
    read, write
        The value itself.
    """

    def __init__(self, read: Callable[[], Any], write: Callable[[Any], object]) -> None:
        self._read = read
        self._write = write
        self._value = read()
        self._is_known = True

    def noted(self) -> None:
        """One of the functions was called."""
        self._is_known = False

    def read(self) -> Any:
        """The value now."""
        if not self._is_known:
            self._value, self._is_known = self._read(), True
        return self._value

    def write(self, value: Any) -> None:
        """Set it."""
        self._is_known = False
        self._write(value)


class NotedSeeds:
    """A random generator, whose setting is the number of times that it was seeded.

    Where that is put back, the generator goes on from its state before the seeding.

    Parameters
    ----------
    read, write
        The generator's state.
    """

    def __init__(self, read: Callable[[], Any], write: Callable[[Any], object]) -> None:
        self._read = read
        self._write = write
        self._seedings = 0
        self._before: list[Any] = []  # the state before the first seeding that is neither put back nor accepted

    def noted(self) -> None:
        """It is about to be seeded."""
        if not self._before:
            self._before.append(self._read())
        self._seedings += 1

    def setting(self, name: str) -> Setting:
        """As a setting of the process."""
        return Setting(name, lambda: self._seedings, self._restore, self._accept)

    def _restore(self, seedings: int) -> None:
        self._seedings = seedings
        if self._before:
            self._write(self._before.pop())

    def _accept(self, wanted: int, before: int, after: int) -> int:
        self._before.clear()
        return after


def random_seeds() -> Setting:
    """That of :mod:`random`."""
    seeds = NotedSeeds(random.getstate, random.setstate)
    note_calls((random,), ("seed", "setstate"), before=seeds.noted)
    return seeds.setting("random")


def note_value(
    name: str, read: Callable[[], Any], write: Callable[[Any], object], holders: tuple[Any, ...], *functions: str
) -> Setting:
    """A :class:`NotedValue` as a setting.

    Parameters
    ----------
    name
        The setting's.
    read, write
        The value itself.
    holders
        The modules that have the functions: the one that users import, and the one whose name pickles have.
    functions
        What changes the value.
    """
    value = NotedValue(read, write)
    note_calls(holders, functions, after=value.noted)
    return Setting(name, value.read, value.write)
