"""The pickler for what the standard one cannot pickle: cloudpickle's, and what of a call has to survive the way."""

import io
import pickle
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

import cloudpickle

PROTOCOL = 5

# The parameters of ``CodeType``, in their order: attributes of code objects, without the ``co_``.
_POSITION = "qualname firstlineno linetable exceptiontable" if sys.version_info >= (3, 11) else "firstlineno linetable"
_PARAMETERS = tuple(
    f"co_{name}"
    for name in (
        "argcount posonlyargcount kwonlyargcount nlocals stacksize flags code consts names varnames filename name "
        f"{_POSITION} freevars cellvars"
    ).split()
)


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """cloudpickle's pickler, but code keeps the names of its files.

    cloudpickle 3.1.3 and newer replace them by ``<dynamic-code>``, so that equal functions of several files pickle
    alike. Tracebacks, warnings, debuggers and ``inspect.getsource`` find the user's lines by these names.
    """

    def reducer_override(self, obj: Any) -> Any:
        """Reduce a code object to all that it was made of; leave everything else to cloudpickle."""
        if type(obj) is CodeType:
            return CodeType, tuple(_unshared(getattr(obj, name)) for name in _PARAMETERS)
        return super().reducer_override(obj)


def dumps(value: Any, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None) -> bytes:
    """Pickle a value: what the notebook defined by value, what modules define by reference.

    Parameters
    ----------
    value
        Any Python object.
    buffer_callback
        As in ``pickle.dumps``: called with each buffer that can travel out of band; a false result takes it out.

    Raises
    ------
    Exception
        Whatever the value's own pickling raises.
    """
    with io.BytesIO() as file:
        Pickler(file, PROTOCOL, buffer_callback=buffer_callback).dump(value)
        return file.getvalue()


def _unshared(part: Any) -> Any:
    """A copy of a text or a tuple that is equal to the original but another object; anything else as it is.

    A pickle refers to an object that comes again in it. Which equal texts are one object depends on where they came
    from, and a function has to give the same bytes each time, for it travels once for each content.
    """
    if isinstance(part, str):
        return "".join(part) if len(part) > 1 else part
    if isinstance(part, tuple):
        return (*part,)
    return part
