"""A filter against a peer that fills the log: of a repeated message fewer and fewer records are logged."""

import logging
from collections import Counter

IN_FULL = 500  # records of one message format that are logged, whatever their arguments
SLOWER = 1_000  # of the records after these, one in so many is logged


class LogThrottle(logging.Filter):
    """Lets the first :data:`IN_FULL` records of each message format pass, then one in :data:`SLOWER`, with a count."""

    def __init__(self) -> None:
        super().__init__()
        self._times: Counter[object] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is logged; add to one that stands for many how often the message has come."""
        self._times[record.msg] += 1
        times = self._times[record.msg]
        if times <= IN_FULL:
            return True
        if times % SLOWER:
            return False
        record.msg = f"{record.msg} (said {times:,} times so far)"
        return True
