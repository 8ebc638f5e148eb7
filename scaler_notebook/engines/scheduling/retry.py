"""How long a task waits between two tries."""

FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 10.0  # seconds; each is twice the one before


def backoff(failed: int) -> float:
    """Give the pause before the next try, in seconds.

    Parameters
    ----------
    failed
        How many tries have failed, the last one included.
    """
    return min(FIRST_BACKOFF * 2.0 ** min(failed - 1, 64), LONGEST_BACKOFF)
