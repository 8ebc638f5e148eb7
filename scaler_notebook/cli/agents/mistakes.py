"""The error for what an agent has asked for wrongly."""


class AgentMistake(ValueError):
    """A request that cannot be met as it is; the message says what to ask for instead."""
