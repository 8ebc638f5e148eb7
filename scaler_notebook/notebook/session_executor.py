"""The executor that the magics use: the one that the user made last, or one of our own."""

from ..client.executor import NotebookExecutor, latest

_own: NotebookExecutor | None = None


def current() -> NotebookExecutor:
    """The user's latest executor if it takes tasks, so that one engine serves all; else the session's own."""
    global _own
    executor = latest()
    if executor is None:
        executor = _own = NotebookExecutor()
    return executor


def end() -> None:
    """Cancel what our own executor runs and end its engine; what the user made is the user's."""
    global _own
    if _own is not None:
        _own.cancel_all()
        _own.shutdown()
        _own = None
