"""Iterables of arguments, refused where they have no end: a map of them would submit tasks for ever."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from scaler_notebook.wording import with_article

from .call_text import function_name

_CONTAINERS = frozenset({list, tuple, range, str, bytes, dict, set, frozenset, deque})


def refuse_endless(fn: Callable[..., Any], iterables: Sequence[Iterable[Any]]) -> None:
    """Raise a TypeError for what is no iterable, and a ValueError if none of them has an end, as far as that is known.

    None of them is read for that.

    Parameters
    ----------
    fn
        The function that would be called, for the message.
    iterables
        The arguments of its calls: the shortest iterable ends them.
    """
    for each in iterables:
        if not any(hasattr(type(each), name) for name in ("__iter__", "__getitem__")):
            kind = with_article(type(each).__name__)
            raise TypeError(f"the arguments of {function_name(fn)} come from iterables, such as a list; {kind} is none")
    if iterables and all(map(_is_endless, iterables)):
        raise ValueError(
            f"{function_name(fn)} would be called for ever: the iterables have no end. Cut one of them with "
            "itertools.islice, or take results as they come from NotebookExecutor.map(..., buffersize=100)"
        )


def are_at_hand(iterables: Sequence[Iterable[Any]]) -> bool:
    """Return whether the items of all are there: to read one takes no time, and runs no code of the user's."""
    return all(type(each) in _CONTAINERS for each in iterables)


def _is_endless(iterable: Iterable[Any]) -> bool:
    """Whether an iterable is one of :mod:`itertools`' ``count``, ``cycle`` or endless ``repeat``."""
    if isinstance(iterable, itertools.repeat):
        try:
            iterable.__length_hint__()
        except TypeError:  # raised for a repeat without a number of times; operator.length_hint says 0 then
            return True
        return False
    return isinstance(iterable, itertools.count | itertools.cycle)
