"""The executor that the magics use: the one that was chosen, the user's latest, or one that the magics have made."""

import weakref
from collections.abc import Mapping
from typing import Any

from scaler_notebook.client.executor import NotebookExecutor, latest
from scaler_notebook.engines.local.client.gpus import Gpus
from scaler_notebook.notebook.settings_store import settings

_own: NotebookExecutor | None = None
_chosen: "weakref.ref[NotebookExecutor] | None" = None


def present() -> NotebookExecutor | None:
    """Return the executor that the magics use now; None if there is none yet.

    The user's latest, unless another was chosen: one engine serves all.
    """
    chosen = _chosen() if _chosen is not None else None
    return chosen if chosen is not None and not chosen.is_shut_down else latest()


def current() -> NotebookExecutor:
    """Return the executor that the magics use; one of the session's own if there is none yet."""
    executor = present()
    return executor if executor is not None else create()


def choose(executor: NotebookExecutor) -> None:
    """Have the magics use an executor of the user's, also when others are made later."""
    global _chosen
    _chosen = weakref.ref(executor)


def describe(executor: NotebookExecutor, namespace: Mapping[str, Any]) -> str:
    """Name an executor for a person, by a variable if one holds it.

    Parameters
    ----------
    executor
        The executor.
    namespace
        The variables of the notebook.
    """
    names = [name for name, value in list(namespace.items()) if value is executor and not name.startswith("_")]
    if names:
        return names[0]
    return "an executor of their own" if executor is _own else "an executor that no variable holds"


def create(
    workers: int | None = None,
    capabilities: dict[str, int] | None = None,
    gpus: Gpus | None = None,
    idle_timeout: float | None = None,
) -> NotebookExecutor:
    """Create an executor of the session, whose engine starts with the first task; a former one takes no more tasks.

    Parameters
    ----------
    workers
        How many tasks run at the same time; None for the setting of ``%scaler config``.
    capabilities
        What the tasks share, by name.
    gpus
        The GPUs that tasks may be given.
    idle_timeout
        Seconds after which idle processes go; None: they stay.
    """
    workers = workers if workers is not None else settings.workers
    made = NotebookExecutor(n_workers=workers, capabilities=capabilities, gpus=gpus, idle_timeout=idle_timeout)
    return _replace(made)


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
    global _own, _chosen
    former, _own, _chosen = _own, executor, None
    if former is not None:
        former.shutdown(wait=False)  # tasks that were submitted go on to their end
    return executor


def shut_down() -> None:
    """Cancel the tasks of the session's own executor and end its engine. The user's executors stay."""
    global _own, _chosen
    _chosen = None
    if _own is not None:
        _own.cancel_all()
        _own.shutdown()
        _own = None
