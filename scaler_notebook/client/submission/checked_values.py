"""Numbers as a user gives them, checked: an error names the option, says what it may be, and shows what was given."""

import math
import operator
from numbers import Real
from typing import Any

from scaler_notebook.quantities import is_truth_value
from scaler_notebook.wording import with_article

MAX_AMOUNT = 2**31 - 1  # of what can be counted
MAX_BYTES = 2**63 - 1
MAX_WORKERS = 10_000  # more is a mistaken parameter


def checked_integer(option: str, value: int) -> int:
    """Return an integer, such as one of numpy's, as a plain one.

    Parameters
    ----------
    option
        The name of the option, for the message.
    value
        The value that was given.

    Raises
    ------
    TypeError
        The value is no integer.
    """
    if is_truth_value(value) or not hasattr(type(value), "__index__"):  # numpy's integers have __index__
        raise TypeError(f"{option} is an integer, not {shown(value)}")
    return operator.index(value)


def checked_count(option: str, value: int, most: int | None = None) -> int:
    """Return a positive integer.

    Parameters
    ----------
    option
        The name of the option, for messages.
    value
        The value that was given.
    most
        The largest value that it may have; None for any.

    Raises
    ------
    TypeError, ValueError
        The value is something else.
    """
    count = checked_integer(option, value)
    if count < 1:
        raise ValueError(f"{option} must be greater than 0, not {count}")
    if most is not None and count > most:
        raise ValueError(f"{option} is at most {most}, not {count}")
    return count


def checked_workers(value: int) -> int:
    """Return a number of workers for an engine that runs.

    Raises
    ------
    TypeError, ValueError
        The value is something else.
    """
    count = checked_integer("n_workers", value)
    if not 1 <= count <= MAX_WORKERS:
        raise ValueError(
            f"n_workers is between 1 and {MAX_WORKERS}, not {count}; idle_timeout= has idle processes go, and "
            "shutdown() ends all of them"
        )
    return count


def checked_bytes(option: str, amount: float) -> int:
    """Return a positive number of bytes as an integer.

    Parameters
    ----------
    option
        The name of the option, for messages.
    amount
        The number that was given.

    Raises
    ------
    TypeError, ValueError
        The value is something else.
    """
    is_real = isinstance(amount, Real) and not isinstance(amount, int)  # 2e9, numpy's too; True is a plain integer
    whole = int(amount) if is_real and float(amount).is_integer() else amount
    size = checked_integer(f"{option}, in bytes,", whole)  # type: ignore[arg-type]
    if not 1 <= size <= MAX_BYTES:
        raise ValueError(f"{option} is in bytes, at least 1 and at most 2**63 - 1, not {shown(amount)}")
    return size


def checked_seconds(option: str, timeout: float) -> float:
    """Return a timeout in seconds, positive and finite.

    Parameters
    ----------
    option
        The name of the option, for the message.
    timeout
        The value that was given.

    Raises
    ------
    TypeError, ValueError
        The value is something else.
    """
    try:
        seconds = math.nan if isinstance(timeout, str | bytes) or is_truth_value(timeout) else float(timeout)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if math.isnan(seconds):
        raise TypeError(f"{option} is a number of seconds, not {shown(timeout)}")
    if not 0 < seconds < math.inf:
        problem = f"{option} is in seconds, more than 0 and finite, not {shown(timeout)}; leave it out for none"
        raise ValueError(problem)
    return seconds


def shown(value: Any) -> str:
    """Return a value for an error message: by its type, and literally if that runs no code of the user's."""
    kind = with_article(type(value).__name__)
    return f"{value!r:.60} ({kind})" if type(value) in (int, float, bool, str, bytes) else kind
