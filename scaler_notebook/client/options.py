"""The options of a task as a user gives them, checked at the call: a mistake is met where it was made."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..protocol.messages import TaskOptions
from .describe import MAX_CALL, for_browsers


def checked_call(
    fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any] | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """``args`` and ``kwargs`` as a call takes them.

    Raises
    ------
    TypeError
        ``fn`` cannot be called, or the arguments are something else.
    """
    if not callable(fn):
        raise TypeError(f"fn is a function, or anything else that can be called, not {_shown(fn)}")
    if not isinstance(args, tuple | list):
        raise TypeError(f"args is a tuple or a list of the positional arguments, not {_shown(args)}")
    kwargs = {} if kwargs is None else kwargs
    if not isinstance(kwargs, Mapping) or not all(isinstance(name, str) for name in kwargs):
        raise TypeError(f"kwargs is a dictionary of the arguments by their names, not {_shown(kwargs)}")
    return tuple(args), dict(kwargs)


def task_options(call: str, *, name: str | None = None) -> TaskOptions:
    """What goes to the engine.

    Parameters
    ----------
    call
        What is shown of a task without a name.

    Raises
    ------
    TypeError, ValueError
        One of them is not what it must be.
    """
    return TaskOptions(call if name is None else _checked_name(name))


def _checked_name(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"name is a text, not {_shown(name)}")
    text = for_browsers(" ".join(name.split()))
    if not text:
        raise ValueError("name is a text with something in it; leave it out, and the call is shown")
    return text if len(text) <= MAX_CALL else text[: MAX_CALL - 1] + "…"


def _shown(value: Any) -> str:
    """A value in an error message: by its type, and as it is if that is short and runs no code of the user's."""
    kind = type(value).__name__
    return f"{value!r:.60} (a {kind})" if type(value) in (int, float, bool, str, bytes) else f"a {kind}"
