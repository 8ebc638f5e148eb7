"""A log that one peer cannot fill: a message that comes over and over is logged less and less often."""

import logging
from collections import Counter

IN_FULL = 500  # times that one message is logged, whatever its details
SLOWER = 1_000  # after that, one in so many is


class LogThrottle(logging.Filter):
    """Lets the first :data:`IN_FULL` records of each message pass, then one of :data:`SLOWER`, with their number."""

    def __init__(self) -> None:
        super().__init__()
        self._times: Counter[object] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Is this one logged?"""
        self._times[record.msg] += 1
        times = self._times[record.msg]
        if times <= IN_FULL:
            return True
        if times % SLOWER:
            return False
        record.msg = f"{record.msg} (said {times:,} times so far)"
        return True
