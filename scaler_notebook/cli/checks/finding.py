"""One result of a check, as ``scaler-notebook doctor`` prints it."""

from typing import Literal, NamedTuple, TypeAlias

Level: TypeAlias = Literal["ok", "note", "wrong"]


class Finding(NamedTuple):
    """One result of a check.

    Parameters
    ----------
    level
        ``note`` marks what may be intended, or works less well.
    text
        What was found.
    advice
        What to do about the finding; empty for nothing.
    """

    level: Level
    text: str
    advice: str = ""
