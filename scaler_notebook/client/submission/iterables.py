"""Iterables of arguments, refused where they have no end: a map of them would submit tasks for ever."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .call_text import function_name


def refuse_endless(fn: Callable[..., Any], iterables: Sequence[Iterable[Any]]) -> None:
    """Raise a ValueError if none of the iterables has an end, as far as that can be told without reading them.

    Parameters
    ----------
    fn
        The function that would be called, for the message.
    iterables
        The arguments of its calls: the shortest iterable ends them.
    """
    if iterables and all(map(_is_endless, iterables)):
        raise ValueError(
            f"{function_name(fn)} would be called for ever: the iterables have no end. Cut one of them with "
            "itertools.islice, or take results as they come from NotebookExecutor.map(..., buffersize=100)"
        )


def _is_endless(iterable: Iterable[Any]) -> bool:
    """Whether an iterable is one of :mod:`itertools`' ``count``, ``cycle`` or endless ``repeat``."""
    if isinstance(iterable, itertools.repeat):
        try:
            iterable.__length_hint__()
        except TypeError:  # raised for a repeat without a number of times; operator.length_hint says 0 then
            return True
        return False
    return isinstance(iterable, itertools.count | itertools.cycle)
