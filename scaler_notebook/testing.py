"""For testing code that uses this package: executors without processes, and futures that are settled by hand.

A test that says what happens to each task::

    with memory_executor() as ex:
        future = ex.submit(fit, "model")
        ex.engine.start_task(future)
        assert future.state is TaskState.RUNNING
        future.request_cancel()
        ex.engine.confirm(future)
        assert future.cancel_reason is CancelReason.STOPPED

A notebook's code without processes, really run, on threads::

    with memory_executor(auto=True) as ex:
        assert ex.submit(sum, [1, 2]).result(5) == 3

A future alone, for views and callbacks::

    future = detached_future("fit(model)")
    future.start()
    future.finish(0.93)
    assert future.result(0) == 0.93
"""

import itertools
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from .client.agent.connection import open_connections
from .client.agent.exit_hooks import before_exit
from .client.agent.future_manager import FutureManager
from .client.executor import NotebookExecutor
from .client.futures.future import ScalerFuture
from .client.submission.call_text import describe_call
from .client.task_state.lifecycle import TaskLifecycle
from .engines.testing import scripted
from .engines.testing.scripted import MemoryEngine
from .engines.testing.threads import ThreadEngine
from .protocol.errors import EngineLostError
from .protocol.messages import EngineMessage, LogStream, TaskCancel, TaskCancelConfirm, TaskCancelConfirmType, TaskLog
from .protocol.wire import ENGINE_CODEC

__all__ = ["DetachedFuture", "InMemoryExecutor", "MemoryEngine", "detached_future", "memory_executor"]

_numbers = itertools.count(1)


class InMemoryExecutor(NotebookExecutor):
    """A :class:`~scaler_notebook.NotebookExecutor` whose engine is in this process; see :func:`memory_executor`."""

    def __init__(
        self,
        *,
        n_workers: int = 2,
        auto: bool = False,
        grace: float = 1.0,
        capabilities: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(n_workers=n_workers, grace=grace, capabilities=capabilities)
        self._kind = ThreadEngine if auto else MemoryEngine
        self._engine: MemoryEngine = self._kind(n_workers, self.capabilities)

    @property
    def engine(self) -> MemoryEngine:
        """The engine that has, or will get, this executor's tasks. One that died is replaced at the next submit."""
        return self._engine

    def _new_engine(self) -> MemoryEngine:
        if self._engine.used:
            self._engine = self._kind(self.n_workers, self.capabilities)
        return self._engine

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave ``with``. What a scripted engine has not ended never ends, so it is not waited for: it fails."""
        if self._kind is MemoryEngine and self._session is not None:
            self._session.close()
        self.shutdown()


def memory_executor(
    n_workers: int = 2, *, auto: bool = False, grace: float = 1.0, capabilities: Mapping[str, int] | None = None
) -> InMemoryExecutor:
    """An executor without processes.

    Its ``engine`` shows what the executor has sent (``engine.sent.next(Task)``), and by default runs nothing: the
    test says what happens, by ``engine.start_task(future)``, ``finish(future, value)``, ``fail(future, error)``,
    ``confirm(future)``, ``refuse(future)``, ``log(future, text)``, ``worker_died(future)`` and ``die()``; see
    :class:`MemoryEngine`. What has not ended when ``with`` is left fails with a
    :class:`~scaler_notebook.DisconnectedError`; ``shutdown()`` waits for it.

    Parameters
    ----------
    n_workers
        How many tasks run at the same time.
    auto
        Really run what is submitted, on threads of this process. A running task cannot be stopped there: ``cancel()``
        returns False and the future says ``refused``. Queued tasks are taken back. What tasks print is not kept.
        Priorities, retries and shares of capabilities and memory are not heeded.
    grace, capabilities
        As for :class:`~scaler_notebook.NotebookExecutor`.

    Raises
    ------
    ValueError
        A number of workers that is not positive, or a negative grace period.
    """
    return InMemoryExecutor(n_workers=n_workers, auto=auto, grace=grace, capabilities=capabilities)


class DetachedFuture(ScalerFuture[Any]):
    """A :class:`~scaler_notebook.ScalerFuture` without an executor: its methods say what its engine would.

    Each takes effect before it returns, on the thread that calls it, and as an engine's message would: by the state
    table, so that what comes too late changes nothing. ``requests`` holds the cancels that were asked of it.
    """

    def __init__(self, call: str = "f()") -> None:
        self.requests: list[TaskCancel] = []
        super().__init__(f"detached-{next(_numbers)}", call, self)
        self._manager = FutureManager()
        self._manager.add(self)

    def send_cancel(self, request: TaskCancel) -> None:
        """What a client would send to the engine is kept in ``requests``."""
        self.requests.append(request)

    def resubmit(self, future: TaskLifecycle) -> "DetachedFuture":
        """What it gives to ``retry()``: another of its kind."""
        return DetachedFuture(future.call)

    def follow(
        self, future: TaskLifecycle, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> "DetachedFuture":
        """What it gives to ``then()``: another of its kind."""
        return DetachedFuture(describe_call(fn, (future, *args), kwargs))

    def start(self) -> None:
        """It runs."""
        self._deliver(scripted.started(self.task_id))

    def finish(self, value: Any = None) -> None:
        """It returned ``value``, which is pickled as a task's result is; raises what that raises."""
        self._deliver(scripted.succeeded(self.task_id, value))

    def fail(self, error: BaseException) -> None:
        """It raised ``error``."""
        self._deliver(scripted.failed(self.task_id, error))

    def worker_died(self, how: str = "task process 0 died: killed by SIGKILL") -> None:
        """The process that ran it died."""
        self._deliver(scripted.worker_died(self.task_id, how))

    def log(self, text: str, stream: LogStream = LogStream.STDOUT) -> None:
        """It wrote ``text``."""
        self._deliver(TaskLog(self.task_id, stream, text))

    def display(self, bundle: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
        """It displays a MIME bundle."""
        self._deliver(scripted.displayed(self.task_id, bundle, metadata))

    def confirm(self, answer: TaskCancelConfirmType = TaskCancelConfirmType.CANCELED) -> None:
        """The engine answers the cancel, or withdraws the task unasked."""
        force = True if self._asked is None else self._asked
        self._deliver(TaskCancelConfirm(self.task_id, answer, force))

    def refuse(self) -> None:
        """The engine answers the cancel: it still runs."""
        self.confirm(TaskCancelConfirmType.CANCEL_FAILED)

    def lose_engine(self, error: BaseException | None = None) -> None:
        """Its engine is lost."""
        self._manager.lost(error or EngineLostError("the engine died"))

    def _deliver(self, message: EngineMessage) -> None:
        self._manager.receive(ENGINE_CODEC.decode(ENGINE_CODEC.encode([message])))


def detached_future(call: str = "f()") -> DetachedFuture:
    """A future that nothing runs, settled by its own methods: ``start``, ``finish``, ``fail``, ``confirm``, ``refuse``.

    Parameters
    ----------
    call
        The call as a person reads it.
    """
    return DetachedFuture(call)


def _close_scripted() -> None:
    for connection in open_connections():
        if type(connection._engine) is MemoryEngine:
            connection.close()


before_exit(
    _close_scripted
)  # so it runs before the executors' own, registered earlier, which waits for what never ends
