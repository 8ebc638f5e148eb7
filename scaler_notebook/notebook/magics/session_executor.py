"""The executor that the magics use: the one that the user made last, or one of our own."""

from scaler_notebook.client.executor import NotebookExecutor, latest
from scaler_notebook.notebook.settings_store import settings

_own: NotebookExecutor | None = None


def current() -> NotebookExecutor:
    """The user's latest executor if it takes tasks, so that one engine serves all; else the session's own."""
    executor = latest()
    return executor if executor is not None else create()


def create(workers: int | None = None, capabilities: dict[str, int] | None = None) -> NotebookExecutor:
    """A new one of our own, whose engine starts with its first task; a former one takes no more tasks."""
    workers = workers if workers is not None else settings.workers
    return _replace(NotebookExecutor(n_workers=workers, capabilities=capabilities))


def connect(address: str) -> NotebookExecutor:
    """One that uses an engine that runs already.

    Raises
    ------
    ValueError
        It is no address.
    EngineStartError
        Nobody answers there.
    """
    executor = NotebookExecutor(address)
    try:
        executor.start()
    except BaseException:
        executor.shutdown()
        raise
    return _replace(executor)


def _replace(executor: NotebookExecutor) -> NotebookExecutor:
    global _own
    former, _own = _own, executor
    if former is not None:
        former.shutdown(wait=False)  # what it runs goes on to its end
    return executor


def shut_down() -> None:
    """Cancel what our own executor runs and end its engine; what the user made is the user's."""
    global _own
    if _own is not None:
        _own.cancel_all()
        _own.shutdown()
        _own = None
