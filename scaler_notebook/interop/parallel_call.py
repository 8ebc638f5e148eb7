"""One call of joblib's ``Parallel``: its batches, as tasks of an executor on one board."""

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from joblib.parallel import ParallelBackendBase

from scaler_notebook.client.executor import NotebookExecutor
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.client.submission.call_pickling import pickle_call
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.permission import may_wait
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.protocol.errors import TaskSerializationError
from scaler_notebook.quantities import amount

LOOK = 0.25  # seconds between two looks at a call of Parallel, for what no completed batch would tell
WRAPPERS = 8  # around a function whose name is looked for; an object that answers everything has no innermost one

Completed = Callable[["Job"], object]


class Job:
    """One batch of a call of ``Parallel``; a task as soon as there is room for one.

    Parameters
    ----------
    run
        The batch.
    completed
        Called with this object when the batch has ended.
    """

    def __init__(self, run: Callable[[], list[Any]], completed: Completed | None) -> None:
        self.run = run
        self.completed = completed
        self.future: ScalerFuture[list[Any]] | None = None
        self.problem: BaseException | None = None  # why there is no task

    def result(self, timeout: float | None = 0) -> list[Any]:
        """Return the results of a batch that has ended."""
        if self.problem is not None:
            raise self.problem
        assert self.future is not None
        return self.future.result(timeout)

    def let_go(self) -> None:
        """Release arguments and results: joblib has taken what it needs, and may hold this object for long."""
        self.run, self.future = list, None

    get = result  # what joblib calls where it asks for a result itself


class ParallelCall:
    """The batches of one call of ``Parallel``: no more than ``most`` of them are tasks at a time.

    Parameters
    ----------
    executor
        Runs the tasks.
    most
        How many at a time.
    threads
        How many threads the numerical libraries may use in each; None for the share of a task process.
    options
        The options of each task, as ``submit_verbose`` has them.
    """

    def __init__(self, executor: NotebookExecutor, most: int, threads: int | None, options: Mapping[str, Any]) -> None:
        self._executor = executor
        self._most = most
        self._threads = threads
        self._options = options
        self._mutex = threading.RLock()
        self._waiting: deque[Job] = deque()
        self._running = 0
        self._futures: set[ScalerFuture[list[Any]]] = set()  # of the batches that have not ended
        self._is_over = False
        self._moved = Signal()
        self._board: Callable[[ScalerFuture[Any]], None] | None = None  # adds a future to the board of this call

    def submit(self, run: Callable[[], list[Any]], completed: Completed | None) -> Job:
        """Make a batch a task, now or when another one has ended.

        Parameters
        ----------
        run
            The batch.
        completed
            Called with the job when it has ended.
        """
        job = Job(run, completed)
        with self._mutex:
            self._waiting.append(job)
        self._start_waiting()
        return job

    def _start_waiting(self) -> None:
        """Make tasks of the batches that there is room for."""
        while True:
            with self._mutex:
                if self._is_over or not self._waiting or self._running >= self._most:
                    return
                self._running += 1
                job = self._waiting.popleft()
            try:
                self._start(job)
            except BaseException as error:
                job.problem = error
                with self._mutex:
                    self._is_over = True  # joblib is about to abort: what waits would fail in the same way
                self._ended(job)
                if not isinstance(error, Exception):
                    raise

    def _start(self, job: Job) -> None:
        """Make a batch a task."""
        try:
            future = self._executor.submit_verbose(
                run_batch, (job.run, self._threads), name=_name(job.run), **self._options
            )
        except TaskSerializationError as error:
            raise _error_of_call(job.run, error) from error.__cause__
        job.future = future
        with self._mutex:
            self._futures.add(future)
            is_over = self._is_over
        if is_over:
            future.request_cancel()
        self._show(future)
        future.add_done_callback(partial(self._done, job))

    def _done(self, job: Job, future: ScalerFuture[list[Any]]) -> None:
        """Note the end of a task."""
        with self._mutex:
            self._futures.discard(future)
            if future.failed or future.cancelled():  # joblib is about to abort: what waits would start for nothing
                self._is_over = True
        self._ended(job)

    def _show(self, future: ScalerFuture[list[Any]]) -> None:
        """Show a task on the board of this call."""
        if self._board is None:
            self._board = current_host().open_board(f"joblib: {future.call.partition(' × ')[0]}")
        self._board(future)

    def _ended(self, job: Job) -> None:
        """Tell joblib of a batch that has ended, which may submit the next one, and start one that waits."""
        with self._mutex:
            self._running -= 1
        try:
            if job.completed is not None:
                job.completed(job)
        finally:
            job.let_go()
            self._start_waiting()
            self._moved.set()

    def wait_while(self, goes_on: Callable[[], bool], seconds: float = math.inf) -> None:
        """Wait while ``goes_on()`` is true, with the slot of the task that waits, if it is one, lent meanwhile.

        Parameters
        ----------
        goes_on
            Says whether there is something to wait for.
        seconds
            The longest wait.
        """
        if not goes_on():
            return
        deadline = time.monotonic() + seconds
        host = current_host()
        with host.release_slot():
            while (left := deadline - time.monotonic()) > 0:
                self._moved = moved = Signal()  # before the look: an end that sets the one before is seen by it
                if not goes_on():
                    return
                if may_wait():
                    host.wait(moved, min(left, LOOK))
                else:  # joblib blocks this thread as well
                    moved.block(min(left, LOOK))

    def cancel(self) -> None:
        """Start no further batch, and stop those that run."""
        with self._mutex:
            self._is_over = True
            self._waiting.clear()
            futures = list(self._futures)
        FutureGroup(futures).cancel()


def run_batch(batch: Callable[[], list[Any]], threads: int | None) -> list[Any]:
    """Run a batch, in its task.

    Parameters
    ----------
    batch
        The batch.
    threads
        How many threads numerical libraries may use; None for what they may use already.
    """
    if threads is None:
        return batch()
    os.environ.update(dict.fromkeys(ParallelBackendBase.MAX_NUM_THREADS_VARS, str(threads)))
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # then the limit holds for libraries that are loaded from now on
        return batch()
    with threadpool_limits(threads):
        return batch()


def _error_of_call(batch: Any, error: TaskSerializationError) -> TaskSerializationError:
    """Return the error for a batch that cannot be pickled, in the words of the call in it which is to blame.

    Parameters
    ----------
    batch
        The batch.
    error
        The error in terms of the batch, for what is no batch of joblib's.
    """
    for function, args, kwargs in getattr(batch, "items", ()):
        try:
            pickle_call(function, args, kwargs)
        except TaskSerializationError as found:
            return found
    return error


def _name(batch: Any) -> str:
    """Return what a person reads of a batch: the functions that it calls, and how often."""
    functions = dict.fromkeys(_function_name(function) for function, _, _ in getattr(batch, "items", ()))
    if not functions:
        return "joblib"
    count = len(batch.items)
    names = ", ".join(list(functions)[:3]) + (", …" if len(functions) > 3 else "")
    return names if count == 1 else f"{names} × {amount(count)}"


def _function_name(function: Any) -> str:
    """Return the name of a function, without what wraps it."""
    for _ in range(WRAPPERS):
        inner = getattr(function, "function", None) or getattr(function, "func", None)
        if inner is None:
            break
        function = inner
    return str(getattr(function, "__name__", type(function).__name__))
