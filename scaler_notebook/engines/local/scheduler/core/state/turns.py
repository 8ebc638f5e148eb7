"""The turns of clients: none waits behind all that another one has queued.

Each task has a number, and the smallest number runs first. A client's numbers count up from the number that runs, so
the tasks of several clients are in turn, one each, and those of one client are in the order of their submission. (This
is start-time fair queueing, with each task as one unit of work: Goyal, Vin and Cheng, SIGCOMM 1996.)
"""


class Turns:
    """The numbers of tasks, by client."""

    def __init__(self) -> None:
        self._now = 0  # the largest number of a task that has been dispatched
        self._last: dict[bytes, int] = {}  # by client: the number of its last task

    def take(self, client: bytes) -> int:
        """Return the number for the next task of a client."""
        self._last[client] = number = max(self._last.get(client, 0), self._now) + 1
        return number

    def dispatched(self, number: int) -> None:
        """Note the number of a task that begins."""
        self._now = max(self._now, number)

    def client_gone(self, client: bytes) -> None:
        """Forget a client."""
        self._last.pop(client, None)
