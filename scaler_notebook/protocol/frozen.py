"""Frozen dataclasses with slots that take no time to define, for a process that starts and uses few of them.

``dataclass(frozen=True, slots=True)`` compiles six methods for each class, in half a millisecond: for our messages and
events that was a third of the start of each process. Here the ``__init__`` is compiled for the first instance, and the
others are shared.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform  # the standard library's from Python 3.11 on
else:

    def dataclass_transform(**_):
        """Return a decorator that does nothing: type checkers alone read its parameters."""
        return lambda decorator: decorator


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def frozen(kind: type[T]) -> type[T]:
    """Make a class a frozen dataclass with slots; as a decorator, of a class with a docstring and without bases."""
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(kind)
    names = [field.name for field in dataclasses.fields(made)]
    made._values = attrgetter(*names) if names else staticmethod(_no_values)
    made.__init__ = _first_init
    made.__repr__, made.__eq__, made.__hash__ = _repr, _equal, _hash
    made.__setattr__ = made.__delattr__ = _refuse
    made.__getstate__, made.__setstate__ = _state, _set_state
    return made  # type: ignore[no-any-return]


def _first_init(self: Any, *args: Any, **kwargs: Any) -> None:
    """Initialise the first instance of a class, after the class has got an ``__init__`` of its own."""
    kind: Any = type(self)
    kind.__init__ = _compiled_init(kind)
    kind.__init__(self, *args, **kwargs)


def _compiled_init(kind: Any) -> Callable[..., None]:
    """Return the ``__init__`` of a class, which sets each slot past the refusing ``__setattr__``."""
    scope: dict[str, Any] = {"MISSING": MISSING}
    parameters, lines = [], []
    for field in dataclasses.fields(kind):
        name, value = field.name, field.name
        parameter = name
        if field.default_factory is not MISSING:
            scope[f"make_{name}"] = field.default_factory
            parameter, value = f"{name}=MISSING", f"make_{name}() if {name} is MISSING else {name}"
        elif field.default is not MISSING:
            scope[f"default_{name}"] = field.default
            parameter = f"{name}=default_{name}"
        scope[f"set_{name}"] = getattr(kind, name).__set__
        parameters.append(parameter)
        lines.append(f"    set_{name}(self, {value})")
    exec("\n".join([f"def __init__(self, {', '.join(parameters)}):", *lines, "    return None"]), scope)
    made: Callable[..., None] = scope["__init__"]
    made.__qualname__ = f"{kind.__qualname__}.__init__"  # for the TypeError of a call with other arguments
    return made


def _no_values(_: Any) -> tuple[()]:
    return ()


def _repr(self: Any) -> str:
    values = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self))
    return f"{type(self).__qualname__}({', '.join(values)})"


def _equal(self: Any, other: Any) -> bool:
    return self._values(self) == self._values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(self._values(self))


def _refuse(self: Any, name: str, *_: Any) -> None:
    raise FrozenInstanceError(f"{name!r} of a {type(self).__name__} cannot be changed")


def _state(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _set_state(self: Any, values: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), values, strict=True):
        object.__setattr__(self, field.name, value)
