"""What one run of a case gives."""

from __future__ import annotations

from dataclasses import dataclass, field


class Cannot(Exception):
    """The peer has no way to do this; the message says what it does instead."""


@dataclass
class Outcome:
    """Figures by name, in seconds, calls per second or megabytes, as ``metrics.py`` says of each name."""

    figures: dict[str, float] = field(default_factory=dict)
    cannot: dict[str, str] = field(default_factory=dict)  # by the name of the figure: why there is none
    notes: dict[str, str] = field(default_factory=dict)
