"""Instances of frozen dataclasses, made quickly, for those of which each task needs some.

The ``__init__`` of a frozen dataclass sets every field by a call of ``object.__setattr__``. That takes three times as
long as to make an instance of a class that is not frozen, and to have it change its class.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


@functools.cache
def twin(kind: type[T]) -> type[T]:
    """Return a dataclass with the same fields in the same places, and the same defaults, which is not frozen.

    Its instance is one of ``kind`` once ``kind`` is assigned to its ``__class__``, and cannot be changed any more.

    Raises
    ------
    TypeError
        The class is none that consists of its fields alone.
    """
    made = _twin(kind)
    _one_of(made).__class__ = kind  # a TypeError for a class without slots, or with others
    return made


def maker(kind: type[T]) -> Callable[..., T]:
    """Return what makes instances of a frozen dataclass of the values of its fields, in their order.

    Raises
    ------
    TypeError
        The class is none that consists of its fields alone.
    """

    def become(instance: Any) -> None:
        instance.__class__ = kind

    made = _twin(kind, __post_init__=become)
    _one_of(made)  # the same TypeError
    return made


def _twin(kind: type[T], **methods: Callable[..., Any]) -> type[T]:
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    made: Any = dataclasses.make_dataclass(
        kind.__name__,
        [
            (each.name, Any, dataclasses.field(default=each.default, default_factory=each.default_factory))
            for each in fields
        ],
        # Without a docstring dataclasses makes one, which takes longer than all else.
        namespace={"__doc__": kind.__doc__, **methods},
        repr=False,
        eq=False,
        match_args=False,
        slots=True,
    )
    if hasattr(kind, "__post_init__") or not all(field.init for field in fields):
        raise TypeError(f"{kind.__name__} does more than to keep its fields")
    return made  # type: ignore[no-any-return]


def _one_of(made: Any) -> Any:
    return made(*dataclasses.fields(made))
