"""The pause of a client, in which its engine starts none of its tasks."""

from scaler_notebook.client.agent.client_agent import Agent
from scaler_notebook.protocol.messages import ClientPause


class Pause:
    """Whether a session's tasks are kept from starting, and the requests that change that; on any thread.

    Parameters
    ----------
    agent
        Sends the requests.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.is_on = False

    def begin(self) -> None:
        """Have the engine start none of the client's tasks; what runs goes on. Idempotent."""
        self._set(True)

    def end(self) -> None:
        """Have the engine start tasks again. Idempotent."""
        self._set(False)

    def _set(self, is_on: bool) -> None:
        if self.is_on != is_on:
            self.is_on = is_on
            self._agent.post(ClientPause(is_on))
