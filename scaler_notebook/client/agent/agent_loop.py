"""The event loop of the agent's thread: other threads wake it without giving up the interpreter's lock."""

import asyncio

from scaler_notebook.client.system_calls import WakingPipe


class AgentLoop(asyncio.SelectorEventLoop):
    """A loop whose ``call_soon_threadsafe`` writes to a pipe with the interpreter's lock held.

    Not the platform's default: Windows' proactor loop cannot watch a descriptor.
    """

    def __init__(self) -> None:
        self._pipe = WakingPipe()
        try:
            super().__init__()
            if self._pipe.receiver is not None:
                self.add_reader(self._pipe.receiver, self._pipe.drain)
        except BaseException:
            self._pipe.close()
            raise

    def _write_to_self(self) -> None:
        """Wake the loop; a Python that has another name for this does it in its own way."""
        if not self._pipe.wake():
            super()._write_to_self()  # type: ignore[misc]  # typeshed does not have it

    def close(self) -> None:
        """Close the loop, and then the pipe, which it watches."""
        super().close()
        self._pipe.close()
