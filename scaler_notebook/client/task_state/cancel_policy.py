"""The cancel policy: what an executor's user has decided about cancelling, read when a cancel happens."""

import math
from dataclasses import dataclass
from typing import Any, Literal, SupportsFloat, TypeAlias, get_args

from scaler_notebook.quantities import is_truth_value

OnInterrupt: TypeAlias = Literal["ask", "cancel", "leave"]


@dataclass
class CancelPolicy:
    """A cancel policy, shared by an executor and its futures.

    Parameters
    ----------
    grace
        Seconds that a running task gets between the interrupt of a cancel and the kill (or the refusal).
    on_interrupt
        What becomes of the tasks when the stop button (or Ctrl-C) ends a wait for them: ``"ask"``: they run on and
        their cards offer Cancel; ``"cancel"``: they are cancelled, by force; ``"leave"``: they run on.

    Raises
    ------
    TypeError, ValueError
        A value is none of these; also when a field is set.
    """

    grace: float = 1.0
    on_interrupt: OnInterrupt = "ask"

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field; TypeError or ValueError for a value that is none."""
        if name == "grace":
            checked_grace(value)
        if name == "on_interrupt" and value not in get_args(OnInterrupt):
            raise ValueError(f"on_interrupt is one of {', '.join(map(repr, get_args(OnInterrupt)))}, not {value!r}")
        object.__setattr__(self, name, value)


def checked_grace(grace: float) -> float:
    """Return a grace period; TypeError or ValueError if it is no length of time, in seconds."""
    if is_truth_value(grace) or not isinstance(grace, SupportsFloat):
        raise TypeError(f"the grace period is a number of seconds, not {grace!r:.60}")
    if not 0 <= grace < math.inf:
        raise ValueError(f"the grace period is in seconds, at least 0 and finite, not {grace}")
    return grace


DEFAULTS = CancelPolicy()  # of the executors that are made from now on; ``%scaler config`` changes it
