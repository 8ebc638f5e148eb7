"""The executor that the magics use: the user's latest, or one that the magics have made."""

from scaler_notebook.client.executor import NotebookExecutor, latest
from scaler_notebook.notebook.settings_store import settings

_own: NotebookExecutor | None = None


def current() -> NotebookExecutor:
    """Return the user's latest executor if it takes tasks, so that one engine serves all; else the session's own."""
    executor = latest()
    return executor if executor is not None else create()


def create(workers: int | None = None, capabilities: dict[str, int] | None = None) -> NotebookExecutor:
    """Create an executor of the session, whose engine starts with the first task; a former one takes no more tasks.

    Parameters
    ----------
    workers
        How many tasks run at the same time; None for the setting of ``%scaler config``.
    capabilities
        What the tasks share, by name.
    """
    workers = workers if workers is not None else settings.workers
    return _replace(NotebookExecutor(n_workers=workers, capabilities=capabilities))


def connect(address: str) -> NotebookExecutor:
    """Create an executor of the session that uses an engine that runs already.

    Raises
    ------
    ValueError
        The text is no address.
    EngineStartError
        No engine answers at the address.
    """
    executor = NotebookExecutor(address)
    try:
        executor.start()
    except BaseException:
        executor.shutdown()
        raise
    return _replace(executor)


def _replace(executor: NotebookExecutor) -> NotebookExecutor:
    """Make an executor the session's own. The former one takes no more tasks, and ends with its last."""
    global _own
    former, _own = _own, executor
    if former is not None:
        former.shutdown(wait=False)  # tasks that were submitted go on to their end
    return executor


def shut_down() -> None:
    """Cancel the tasks of the session's own executor and end its engine. The user's executors stay."""
    global _own
    if _own is not None:
        _own.cancel_all()
        _own.shutdown()
        _own = None
