"""The definitions of classes that came with a task's call, in the pickle of what the task returns.

Whoever has sent a class has the class, with a state that may have changed since. So such a class comes back as a
reference to the one with its id. Its definition is a pickle within the pickle, which is loaded only where there is no
class of that id, because it has been deleted or because the result has gone to another process.
"""

import io
import pickle
from collections.abc import Callable
from typing import Any

from . import travelling_classes
from .loading import unpickling_context


class Definition:
    """How a class is made, with those definitions that this one refers to.

    Parameters
    ----------
    class_id
        The id by which a process finds the class.
    reduce
        Returns the pickle of the class, in which other such classes are persistent ids, and their definitions in the
        order of these ids. Called when the definition itself is pickled.
    """

    def __init__(self, class_id: str, reduce: "Callable[[], tuple[bytes, list[Definition]]] | None" = None) -> None:
        self._class_id = class_id
        self._reduce = reduce
        self._pickle: Any = b""
        self._needed: list[Definition] = []
        self._loading = False

    def __reduce__(self) -> tuple[Any, ...]:
        if self._reduce is not None:
            self._pickle, self._needed = self._reduce()
        return Definition, (self._class_id,), (pickle.PickleBuffer(self._pickle), self._needed)

    def __setstate__(self, state: "tuple[Any, list[Definition]]") -> None:
        self._pickle, self._needed = state

    def let_go(self) -> None:
        """Release what makes the pickle: it refers to the pickler, whose memo refers to all that was pickled."""
        self._reduce = None

    def known(self) -> Any:
        """Return the class, if this process has one that is to stay as it is; else None.

        A class that a task gets has the state that the class was sent with, so its definition is loaded in any case.
        """
        may_stay = self._loading or not unpickling_context.within_call()
        return travelling_classes.known(self._class_id) if may_stay else None

    def load(self) -> Any:
        """Return the class, made from its definition if necessary."""
        if (found := self.known()) is not None:
            return found
        reader = _Reader(io.BytesIO(self._pickle))
        reader.needed = self._needed
        before, self._loading = self._loading, True
        try:
            return reader.load()
        finally:
            self._loading = before


class _Reader(pickle.Unpickler):
    """An unpickler of a definition, which finds other classes by their numbers in the list of those needed."""

    needed: list[Definition]

    def persistent_load(self, number: Any) -> Any:
        return self.needed[number].load()


def find(home: tuple[str, str] | None, definition: Definition) -> Any:
    """Return a class that came with a task's call, and has come back. Called by pickles.

    Parameters
    ----------
    home
        The module and name to which the class is bound within a task, as in :func:`.constructors.make_class`.
    definition
        The definition of the class.
    """
    cls = definition.load()
    unpickling_context.bind(home, cls)
    return cls
