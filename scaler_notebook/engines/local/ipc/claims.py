"""Claims: a pipe with the number of each run that a task process may begin.

The process reads a number before it begins a run. The scheduler takes runs back by reading the numbers that are left.
The system gives each number to one of the two: so a run is begun, or taken back, and never both, even if the process
dies meanwhile. Numbers are written and read as wholes, because a pipe's reads and writes of few bytes are atomic.
"""

import contextlib
import os
import select
import struct
from collections.abc import Sequence

NUMBER = struct.Struct("=Q")
MAX_NUMBERS = 4096  # numbers read at once


class OfferedRuns:
    """The scheduler's side: offers runs to one task process, and withdraws those that were not claimed."""

    def __init__(self) -> None:
        self.read_fd, self._write_fd = os.pipe()
        for fd in (self.read_fd, self._write_fd):
            os.set_blocking(fd, False)  # the reading end is shared with the process

    def offer(self, *seqs: int) -> None:
        """Let the process begin these runs, in this order."""
        os.write(self._write_fd, b"".join(map(NUMBER.pack, seqs)))

    def withdraw(self, after: int) -> Sequence[int]:
        """Withdraw the runs with numbers above ``after`` that were not claimed, and return their numbers."""
        left: list[int] = []
        with contextlib.suppress(BlockingIOError):
            while numbers := os.read(self.read_fd, MAX_NUMBERS * NUMBER.size):
                left += (number for (number,) in NUMBER.iter_unpack(numbers))
        if stay := [number for number in left if number <= after]:
            self.offer(*stay)
        return [number for number in left if number > after]

    def close(self) -> None:
        """Close both ends."""
        os.close(self.read_fd)
        os.close(self._write_fd)


class Claims:
    """The process's side: waits for the next run that the process may begin.

    Parameters
    ----------
    fd
        The reading end of the pipe, which subprocesses do not inherit.
    """

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)
        self._fd = fd
        self._readable = select.poll()
        self._readable.register(fd, select.POLLIN)

    def next(self) -> int:
        """Claim the next run, and return its number.

        Raises
        ------
        ConnectionError
            The scheduler is gone, or a task has closed the pipe.
        """
        while True:
            try:
                number = os.read(self._fd, NUMBER.size)
            except BlockingIOError:
                self._readable.poll()
                continue
            except OSError as error:
                raise ConnectionError("the pipe of claims is closed") from error
            if len(number) < NUMBER.size:
                raise ConnectionError("the scheduler is gone")
            return int(NUMBER.unpack(number)[0])
