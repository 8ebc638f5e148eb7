"""The error for what an agent has asked for wrongly."""

from scaler_notebook.protocol.encoding.json_forms import escaped


class AgentMistake(ValueError):
    """A request that cannot be met as it is; the message says what to ask for instead.

    Parameters
    ----------
    words
        The message.
    """

    def __init__(self, words: str) -> None:
        super().__init__(escaped(words))
