"""Picks of one among candidates that a strategy cannot know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")

PICKS = st.integers(0, 9)


def picked(pick: int, candidates: Sequence[T]) -> T:
    """The one at that place, counted round."""
    return candidates[pick % len(candidates)]
