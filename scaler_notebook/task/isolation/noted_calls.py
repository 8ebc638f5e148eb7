"""Detection of changes that a task makes by calling a function, where comparing values would take too long.

The state of a random generator takes 20 microseconds to read, the limits of a process ten; noting the call of a
function costs nothing. The functions are replaced where they are defined, before the user's code can import them.
"""

import functools
import random
from collections.abc import Callable
from typing import Any

from .expressions import Expression
from .setting import Setting, merged_tuple


def note_calls(
    holders: tuple[Any, ...],
    names: tuple[str, ...],
    before: Callable[[], object] | None = None,
    after: Callable[[], object] | None = None,
) -> None:
    """Replace functions by wrappers that note their calls.

    Parameters
    ----------
    holders
        The modules that have the functions. Names that the first module does not have are skipped.
    names
        The names of the functions.
    before, after
        Called before and after each call of one of the functions.
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
    """Return a wrapper of a function that calls ``before`` and ``after`` around each call."""

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
    """A value that changes only by the calls of some functions: it is read again only after a call.

    Parameters
    ----------
    read, write
        Read and write the value.
    """

    def __init__(self, read: Callable[[], Any], write: Callable[[Any], object]) -> None:
        self._read = read
        self._write = write
        self._value = read()
        self._is_known = True

    @property
    def look(self) -> Expression:
        """The current value, as an expression."""
        return Expression("{it}._value if {it}._is_known else {it}.read()", it=self)

    def noted(self) -> None:
        """Note that one of the functions was called."""
        self._is_known = False

    def read(self) -> Any:
        """Return the current value."""
        if not self._is_known:
            self._value, self._is_known = self._read(), True
        return self._value

    def write(self, value: Any) -> None:
        """Write the value."""
        self._is_known = False
        self._write(value)


class NotedValues:
    """Several noted values as one setting, so that asking whether any has changed is one call.

    The setting's value is a tuple of them. Each is read again only after a call of one of its own functions.
    """

    def __init__(self) -> None:
        self._reads: list[Callable[[], Any]] = []
        self._writes: list[Callable[[Any], object]] = []
        self._values: tuple[Any, ...] = ()
        self._unknown: set[int] = set()  # positions of values that are to be read again

    def add(
        self, read: Callable[[], Any], write: Callable[[Any], object], holders: tuple[Any, ...], *functions: str
    ) -> None:
        """Add a value, behind the others.

        Parameters
        ----------
        read, write
            Read and write the value.
        holders, functions
            As for :func:`note_value`.
        """
        note_calls(holders, functions, after=functools.partial(self._unknown.add, len(self._reads)))
        self._reads.append(read)
        self._writes.append(write)
        self._values = *self._values, read()

    def read(self) -> tuple[Any, ...]:
        """Return the current values."""
        if self._unknown:
            values = [*self._values]
            for position in [*self._unknown]:
                values[position] = self._reads[position]()
                self._unknown.discard(position)
            self._values = tuple(values)
        return self._values

    def write(self, wanted: tuple[Any, ...]) -> None:
        """Write the values that differ, in the order in which they were added."""
        for position, (value, now) in enumerate(zip(wanted, self.read(), strict=True)):
            if value != now:
                self._unknown.add(position)
                self._writes[position](value)

    def setting(self, name: str) -> Setting:
        """Return the values as a setting of the process."""
        look = Expression("{it}.read() if {it}._unknown else {it}._values", it=self)
        return Setting(name, self.read, self.write, merged_tuple, look)


class NotedSeeds:
    """A random generator, as a setting whose value is the number of times that the generator was seeded.

    When that number is restored, the generator goes on from its state before the seeding.

    Parameters
    ----------
    read, write
        Read and write the generator's state.
    """

    def __init__(self, read: Callable[[], Any], write: Callable[[Any], object]) -> None:
        self._read = read
        self._write = write
        self._seedings = 0
        self._before: list[Any] = []  # the state before the first seeding that is neither restored nor accepted

    def noted(self) -> None:
        """Note that the generator is about to be seeded."""
        if not self._before:
            self._before.append(self._read())
        self._seedings += 1

    def setting(self, name: str) -> Setting:
        """Return the generator as a setting of the process."""
        return Setting(name, Expression("{it}._seedings", it=self), self._restore, self._accept)

    def _restore(self, seedings: int) -> None:
        self._seedings = seedings
        if self._before:
            self._write(self._before.pop())

    def _accept(self, wanted: int, before: int, after: int) -> int:
        self._before.clear()
        return after


def random_seeds() -> Setting:
    """Return the setting for the generator of :mod:`random`."""
    seeds = NotedSeeds(random.getstate, random.setstate)
    note_calls((random,), ("seed", "setstate"), before=seeds.noted)
    return seeds.setting("random")


def note_value(
    name: str, read: Callable[[], Any], write: Callable[[Any], object], holders: tuple[Any, ...], *functions: str
) -> Setting:
    """Return a :class:`NotedValue` as a setting.

    Parameters
    ----------
    name
        The name of the setting.
    read, write
        Read and write the value.
    holders
        The modules that have the functions: the one that users import, and the one whose name is in pickles.
    functions
        The names of the functions that change the value.
    """
    value = NotedValue(read, write)
    note_calls(holders, functions, after=value.noted)
    return Setting(name, value.read, value.write, look=value.look)
