"""What ``%scaler config`` decides beside the policy of cancelling; read at the moment that it matters."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass
class Settings:
    """Of this notebook session.

    Parameters
    ----------
    workers
        Of the engine that the magics start; None: the cores that this process may use.
    progress_after
        Seconds that a ``%%scaler`` cell waits for its task before it shows a card: what ends sooner makes no noise.
    output_lines
        How many of the last lines of a task's output a card holds.

    Raises
    ------
    ValueError
        Also when a field is set: it is out of range.
    """

    workers: int | None = None
    progress_after: float = 0.2
    output_lines: int = 200

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "workers" and value is not None and value < 1:
            raise ValueError(f"at least one worker is needed, not {value}")
        if name == "progress_after" and not 0 <= value < math.inf:
            raise ValueError(f"progress_after is in seconds, at least 0 and finite, not {value}")
        if name == "output_lines" and value < 1:
            raise ValueError(f"at least one line, not {value}")
        object.__setattr__(self, name, value)


settings = Settings()
