"""The pauses between the tries of a task."""

FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 10.0  # seconds; each pause is twice the one before


def backoff(failed: int) -> float:
    """Return the pause before the next try of a task, in seconds.

    Parameters
    ----------
    failed
        How many tries have failed, the last one included.
    """
    return min(FIRST_BACKOFF * 2.0 ** min(failed - 1, 64), LONGEST_BACKOFF)
