"""Test helpers for code that uses this package: executors without processes, and futures settled by hand.

A test that says what happens to each task::

    with memory_executor() as ex:
        future = ex.submit(fit, "model")
        ex.engine.start_task(future)
        assert future.state is TaskState.RUNNING
        future.request_cancel()
        ex.engine.confirm(future)
        assert future.cancel_reason is CancelReason.STOPPED

A notebook's code, run on threads of this process::

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

from .client.agent.future_manager import FutureManager
from .client.agent.outgoing_queue import OutgoingQueue
from .client.executor import NotebookExecutor
from .client.futures.future import ScalerFuture
from .client.session.exit_hooks import before_exit
from .client.session.session import open_sessions
from .client.submission.call_text import call_text
from .client.task_state.observed_task import ObservedTask
from .engines.testing import task_messages
from .engines.testing.scripted import MemoryEngine
from .engines.testing.threads import ThreadEngine
from .protocol.encoding.wire import ENGINE_CODEC
from .protocol.errors import EngineLostError
from .protocol.messages import EngineMessage, LogStream, TaskCancel, TaskCancelConfirm, TaskCancelConfirmType, TaskLog

__all__ = ["DetachedFuture", "InMemoryExecutor", "MemoryEngine", "detached_future", "memory_executor"]

_numbers = itertools.count(1)


class InMemoryExecutor(NotebookExecutor):
    """A :class:`~scaler_notebook.NotebookExecutor` whose engine is in this process; see :func:`memory_executor`.

    Parameters
    ----------
    n_workers, auto, grace, capabilities
        As for :func:`memory_executor`.
    """

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
        """The engine that has, or will get, this executor's tasks; one that died is replaced at the next submit."""
        return self._engine

    @property
    def gpus(self) -> None:
        """None: the engine gives no GPUs to tasks."""
        return

    def _new_engine(self) -> MemoryEngine:
        """Return the engine for the next connection: a new one if the present one was connected before."""
        if self._engine.used:
            self._engine = self._kind(self.n_workers, self.capabilities)
        return self._engine

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave ``with``. A task that a scripted engine has not ended never ends: it fails, and is not waited for.

        Parameters
        ----------
        kind, error, traceback
            The exception that ends the block, if any.
        """
        if self._kind is MemoryEngine and self._session is not None:
            self._session.close()
        self.shutdown()


def memory_executor(
    n_workers: int = 2, *, auto: bool = False, grace: float = 1.0, capabilities: Mapping[str, int] | None = None
) -> InMemoryExecutor:
    """Create an executor without processes.

    Its ``engine`` shows what the executor has sent (``engine.sent.next(Task)``), and by default runs nothing: the
    test says what happens, by ``engine.start_task(future)``, ``finish(future, value)``, ``fail(future, error)``,
    ``confirm(future)``, ``refuse(future)``, ``log(future, text)``, ``give_item(future, item)``, ``worker_died(future)``
    and ``die()``; see :class:`MemoryEngine`. A task that has not ended when ``with`` is left fails with a
    :class:`~scaler_notebook.DisconnectedError`; ``shutdown()`` waits for the end of all tasks.

    Parameters
    ----------
    n_workers
        How many tasks run at the same time.
    auto
        Run what is submitted, on threads of this process. A running task cannot be stopped there: ``cancel()``
        returns False and the future says ``refused``. Queued tasks are taken back. What tasks print is not kept.
        Priorities, retries and shares of capabilities and memory are not heeded.
    grace
        Seconds between the interrupt of a cancel and what follows, as for :class:`~scaler_notebook.NotebookExecutor`.
    capabilities
        What the tasks share, by name, as for :class:`~scaler_notebook.NotebookExecutor`.

    Raises
    ------
    ValueError
        The number of workers is not positive, or the grace period is negative.
    """
    return InMemoryExecutor(n_workers=n_workers, auto=auto, grace=grace, capabilities=capabilities)


class DetachedFuture(ScalerFuture[Any]):
    """A :class:`~scaler_notebook.ScalerFuture` without an executor: its methods report what an engine would.

    Each method takes effect before it returns, on the thread that calls it, and as an engine's message would: by the
    state table, so that a message that comes too late changes nothing.

    Parameters
    ----------
    call
        The call as a person reads it.

    Attributes
    ----------
    requests
        The cancel requests that were made of this future.
    """

    def __init__(self, call: str = "f()") -> None:
        self.requests: list[TaskCancel] = []
        super().__init__(f"detached-{next(_numbers)}", call, self)
        self._manager = FutureManager(OutgoingQueue())
        self._manager.add(self)

    def send_cancel(self, request: TaskCancel) -> None:
        """Record a cancel request in ``requests``, where a client would send it to the engine."""
        self.requests.append(request)

    def send_items_taken(self, task_id: str, count: int) -> None:
        """Do nothing: there is no task that would go on.

        Parameters
        ----------
        task_id
            The task.
        count
            How many items were read.
        """

    def resubmit(self, future: ObservedTask) -> "DetachedFuture":
        """Create the future that ``retry()`` returns: another detached future."""
        return DetachedFuture(future.call)

    def submit_with_value(
        self, future: ObservedTask, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> "DetachedFuture":
        """Create the future that ``then()`` returns: another detached future.

        Parameters
        ----------
        future
            The future whose ``then()`` was called.
        fn
            The function that would be called with the result.
        args
            Its further positional arguments.
        kwargs
            Its keyword arguments.
        """
        return DetachedFuture(call_text(fn, (future, *args), kwargs))

    def local_call(self, future: ObservedTask) -> Callable[[], Any]:
        """Raise the RuntimeError of a call whose arguments are gone: there is none."""
        raise RuntimeError(f"{future.call} has no arguments: it is no call that was submitted")

    def process_of(self, future: ObservedTask) -> int:
        """Raise the RuntimeError of a task that runs in no process."""
        raise RuntimeError(f"{future.call} runs in no process: it is no call that was submitted")

    def request_preview(self, future: ObservedTask) -> None:
        """Do nothing: there is no engine whose tasks make previews."""

    def start(self) -> None:
        """Report that the task runs."""
        self._deliver(task_messages.started(self.task_id))

    def finish(self, value: Any = None) -> None:
        """Report that the task returned ``value``.

        Parameters
        ----------
        value
            The result, which is pickled as that of any task; an exception of its pickling is raised here.
        """
        self._deliver(task_messages.succeeded(self.task_id, value))

    def fail(self, error: BaseException) -> None:
        """Report that the task raised ``error``."""
        self._deliver(task_messages.failed(self.task_id, error))

    def worker_died(self, how: str = "task process 0 died: killed by SIGKILL") -> None:
        """Report that the process that ran the task died, and how."""
        self._deliver(task_messages.worker_died(self.task_id, how))

    def log(self, text: str, stream: LogStream = LogStream.STDOUT) -> None:
        """Report that the task wrote ``text``.

        Parameters
        ----------
        text
            What was written.
        stream
            The stream that was written to.
        """
        self._deliver(TaskLog(self.task_id, stream, text))

    def display(self, bundle: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
        """Report that the task displayed a MIME bundle.

        Parameters
        ----------
        bundle
            The forms of the display, by MIME type.
        metadata
            What IPython knows about the forms, by MIME type.
        """
        self._deliver(task_messages.displayed(self.task_id, bundle, metadata))

    def confirm(self, answer: TaskCancelConfirmType = TaskCancelConfirmType.CANCELED) -> None:
        """Answer a cancel request with ``answer``; without a request, withdraw the task."""
        force = True if self._asked is None else self._asked
        self._deliver(TaskCancelConfirm(self.task_id, answer, force))

    def refuse(self) -> None:
        """Answer a cancel request: the task still runs."""
        self.confirm(TaskCancelConfirmType.CANCEL_FAILED)

    def lose_engine(self, error: BaseException | None = None) -> None:
        """Report that the engine is lost, by ``error``; by an :class:`EngineLostError` unless another is given."""
        self._manager.fail_all(error or EngineLostError("the engine died"))

    def _deliver(self, message: EngineMessage) -> None:
        """Deliver an engine's message, encoded and decoded as on the way from an engine."""
        self._manager.receive(ENGINE_CODEC.decode(ENGINE_CODEC.encode([message])))


def detached_future(call: str = "f()") -> DetachedFuture:
    """Create a future that nothing runs.

    It is settled by its own methods: ``start``, ``finish``, ``fail``, ``confirm``, ``refuse``.

    Parameters
    ----------
    call
        The call as a person reads it.
    """
    return DetachedFuture(call)


def _close_scripted() -> None:
    """Close the sessions of scripted engines: their tasks would never end."""
    for session in open_sessions():
        if type(session.engine) is MemoryEngine:
            session.close()


# The executors' own hook, registered earlier and so called later, would wait for tasks that never end.
before_exit(_close_scripted)
