"""The settings of ``%scaler config`` other than the cancel policy. They are read when they are used."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass
class Settings:
    """The settings of this notebook session.

    Parameters
    ----------
    workers
        The number of workers of an engine that the magics start; None for the cores that this process may use.
    progress_after
        Seconds that a ``%%scaler`` cell waits for its task before it shows a live card.
    output_lines
        How many of the last lines of a task's output a card holds.
    wait_for_names
        Does a cell that reads a name of a running ``%%scaler --out`` cell wait for the name?
    notify
        Seconds that a view must have been shown for its end to be told to who looks elsewhere; 0 for never.
    notify_sound
        Is that told by a sound, too?

    Raises
    ------
    ValueError
        A value is out of range; also when a field is set.
    """

    workers: int | None = None
    progress_after: float = 0.2
    output_lines: int = 200
    wait_for_names: bool = False
    notify: float = 0.0
    notify_sound: bool = False

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field to a value that is within its range.

        Parameters
        ----------
        name
            The name of the field.
        value
            The new value.
        """
        if name == "workers" and value is not None and value < 1:
            raise ValueError(f"at least one worker is needed, not {value}")
        if name == "progress_after" and not 0 <= value < math.inf:
            raise ValueError(f"progress_after is in seconds, at least 0 and finite, not {value}")
        if name == "output_lines" and value < 1:
            raise ValueError(f"at least one line, not {value}")
        if name == "notify" and not 0 <= value < math.inf:
            raise ValueError(f"notify is in seconds, at least 0 (for never) and finite, not {value}")
        object.__setattr__(self, name, value)


settings = Settings()
