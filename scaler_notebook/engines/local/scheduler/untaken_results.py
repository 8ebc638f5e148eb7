"""Large results that clients have not taken yet: descriptors of the scheduler's, each kept open for one client."""

from collections import Counter
from collections.abc import Iterable

from scaler_notebook.engines.local.ipc.memory.shared_memory import close_descriptors
from scaler_notebook.protocol.messages import Payload, SegmentRef


class UntakenResults:
    """The descriptors of results that were sent, until their clients have mapped them."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[bytes, int]] = {}  # by descriptor: the client, and the bytes of the segment
        self._sizes: Counter[bytes] = Counter()  # bytes in all, by client

    def add(self, client: bytes, payload: Payload) -> None:
        """Keep the segments of a result open for a client; once, however often it is called.

        Parameters
        ----------
        client
            The client.
        payload
            The result.
        """
        for buffer in payload.buffers:
            if isinstance(buffer, SegmentRef) and buffer.descriptor not in self._open:
                self._open[buffer.descriptor] = client, buffer.size
                self._sizes[client] += buffer.size

    def size(self, client: bytes) -> int:
        """Return how many bytes a client has not taken yet."""
        return self._sizes[client]

    def end(self, client: bytes, descriptors: Iterable[int]) -> None:
        """Close descriptors that a client has mapped; what is open for another client stays so.

        Parameters
        ----------
        client
            The client.
        descriptors
            The descriptors.
        """
        known = {each for each in descriptors if each in self._open and self._open[each][0] == client}
        for descriptor in known:
            _, size = self._open.pop(descriptor)
            self._sizes[client] -= size
        close_descriptors(known)

    def end_all(self, client: bytes) -> None:
        """Close all that is open for a client."""
        self.end(client, [descriptor for descriptor, (owner, _) in self._open.items() if owner == client])
        self._sizes.pop(client, None)
