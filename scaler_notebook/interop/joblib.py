"""A backend of joblib: ``Parallel``, and whatever in scikit-learn has ``n_jobs``, runs on an executor.

An import of this module registers the backend ``"scaler_notebook"``::

    import scaler_notebook.interop.joblib
    with joblib.parallel_config(backend="scaler_notebook"):
        GridSearchCV(model, grid, n_jobs=-1).fit(X, y)

``parallel_config(backend=executor.joblib_backend())`` does the same on a certain executor. Each batch of calls is a
task. Large arrays are in memory that all processes share, so joblib's own memory mapping has nothing to do.
"""

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import joblib
from joblib.parallel import (
    TASK_PENDING,
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
)

from scaler_notebook.client.executor import NotebookExecutor, latest
from scaler_notebook.client.submission.options import task_options
from scaler_notebook.suggestions import did_you_mean
from scaler_notebook.task.modules.joblib_backend import NAME
from scaler_notebook.wording import with_article

from .parallel_call import Completed, Job, ParallelCall

QUEUED = 2  # tasks for each job: one that runs, and one that follows; joblib gives as many unless told otherwise
LEAST = 2  # jobs that joblib is told of: with one it asks no backend, and runs the calls in this process
TIMED_LOOK = 0.05  # seconds between two looks of joblib's where it measures a time-out
MAX_NESTING = 2  # levels of Parallel within Parallel whose calls are tasks; deeper ones run in their task
# Options about memory maps and process pools, which are replaced by shared memory and by the executor.
WITHOUT_EFFECT = frozenset(
    {"context", "idle_worker_timeout", "max_nbytes", "mmap_mode", "prefer", "require", "temp_folder", "verbose"}
)
# Those of submit_verbose that a batch can have: its name says what it calls, and ``timeout`` is an option of Parallel.
TASK_OPTIONS = frozenset(
    {"priority", "retries", "retry_on", "capabilities", "resources", "memory_limit", "run_timeout", "gpus"}
)


class ScalerBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """A joblib backend whose batches are tasks of an executor.

    Implements what joblib 1.5 and 1.6 document of ``ParallelBackendBase``. joblib has one backend for all calls of
    ``Parallel`` within a ``parallel_config`` block, and several may run at a time: each gets a backend of its own.

    Parameters
    ----------
    executor
        The executor. By default the notebook's newest one or, if there is none, a new one; within a task the engine
        that runs the task.
    nesting_level
        How many calls of ``Parallel`` this one is within; set by joblib.
    inner_max_num_threads
        How many threads the numerical libraries may use within a batch; by default each task process has its share of
        the cores.
    options
        Options of the task that each batch is, as ``submit_verbose`` has them: ``gpus``, ``capabilities``, ``retries``,
        ``retry_on``, ``priority``, ``resources``, ``memory_limit``, ``run_timeout``. Batches of a ``Parallel`` within a
        batch have none of them.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True

    def __init__(
        self,
        executor: NotebookExecutor | None = None,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        **options: Any,
    ) -> None:
        if executor is not None and not isinstance(executor, NotebookExecutor):
            raise TypeError(f"executor is a NotebookExecutor, not {with_article(type(executor).__name__)}")
        self._task_options = _task_options_in(options)
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._given = executor
        self._made: NotebookExecutor | None = None  # held, as nobody else does
        self.parallel: Any = None  # the Parallel that this backend is of; None where joblib shares it
        self._call: ParallelCall | None = None
        self._most = 1  # batches that are tasks at a time

    def __reduce__(self) -> Any:
        return ScalerBackend, (None, self.nesting_level, self.inner_max_num_threads)  # in a task: on the task's engine

    @property
    def executor(self) -> NotebookExecutor:
        """The executor that runs the batches."""
        if self._given is not None:
            return self._given
        found = self._made or latest()
        if found is None or found.is_shut_down:
            found = self._made = NotebookExecutor()
        return found

    # ------------------------------------------------------------------ how many at a time

    @property
    def default_n_jobs(self) -> int:
        """As for :meth:`effective_n_jobs`, where neither ``Parallel`` nor ``parallel_config`` says it.

        Within a batch that is 1, as in loky: the calls around it keep all workers busy.
        """
        return 1 if self.nesting_level else -1

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many batches run at a time.

        Parameters
        ----------
        n_jobs
            As for ``Parallel``: -1 for all workers of the executor, -2 for all but one, and so on; more than there are
            wait in the executor's queue.

        Raises
        ------
        ValueError
            ``n_jobs`` is 0.
        """
        count = self._at_a_time(n_jobs)
        if self.parallel is not None and self._asks_for_workers(n_jobs):
            return max(count, LEAST)
        return count

    def _at_a_time(self, n_jobs: int | None) -> int:
        """Do as :meth:`effective_n_jobs`, also where joblib is to be told of more."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return max(self._workers() + 1 + n_jobs, 1) if n_jobs < 0 else n_jobs

    def _asks_for_workers(self, n_jobs: int | None) -> bool:
        """Return whether batches are to be tasks, be it one at a time: then they can be seen and stopped."""
        return n_jobs is not None and n_jobs < 0 and not self.nesting_level

    def _workers(self) -> int:
        """Return the number of the executor's workers."""
        executor = self.executor
        executor.start()
        return executor.n_workers or joblib.cpu_count()  # a cluster does not tell

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """Prepare a call of ``Parallel``, and return how many batches run at a time.

        Parameters
        ----------
        n_jobs
            As for :meth:`effective_n_jobs`.
        parallel
            The ``Parallel``.

        Raises
        ------
        FallbackToBackend
            joblib is to use another backend: one of this ``Parallel`` alone or, where the user wants one job, joblib's
            own for calls in this process.
        TypeError
            An option is one of another backend, and would have no effect here.
        """
        task_options = _task_options_in(options)
        count = self._at_a_time(n_jobs)
        if count == 1 and not self._asks_for_workers(n_jobs):
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        executor = self.executor  # held here, if it is made now, for the calls to come
        if self.parallel is not parallel:
            own = ScalerBackend(self._given)
            own.__dict__.update(self.__dict__, parallel=parallel, _call=None)
            own._task_options = {**self._task_options, **task_options}
            raise FallbackToBackend(own)
        # Where the workers bound how many run, each has its next batch in the queue while joblib takes results in.
        self._most = QUEUED * count if 0 < executor.n_workers <= count else count
        return self.effective_n_jobs(n_jobs)

    def get_nested_backend(self) -> tuple[ParallelBackendBase, int | None]:
        """Return the backend for calls of ``Parallel`` within a batch, and how many jobs they have by default."""
        level = (self.nesting_level or 0) + 1
        if level >= MAX_NESTING:
            return SequentialBackend(nesting_level=level), None
        nested = ScalerBackend(self._given, level, self.inner_max_num_threads)
        return nested, None

    # ------------------------------------------------------------------ one call of Parallel

    def start_call(self) -> None:
        """Begin a call of ``Parallel``."""
        self._call = ParallelCall(self.executor, self._most, self.inner_max_num_threads, self._task_options)

    def stop_call(self) -> None:
        """End a call of ``Parallel``."""
        self._call = None

    def submit(self, func: Callable[[], list[Any]], callback: Completed | None = None) -> Job:
        """Submit a batch.

        Parameters
        ----------
        func
            The batch.
        callback
            Called with the job when the batch has ended.
        """
        call = self._call
        if call is None:  # it ended while the callback thread made another batch, which nobody waits for
            return Job(func, callback)
        return call.submit(func, callback)

    apply_async = submit  # joblib 1.4 and older

    def retrieve_result_callback(self, out: Job) -> list[Any]:
        """Return the results of a batch that has ended, or raise what a call in it has raised."""
        return out.result()

    @contextlib.contextmanager
    def retrieval_context(self) -> Iterator[None]:
        """Have joblib wait for results as this package does: buttons work meanwhile, and a task lends its slot.

        joblib's loop asks ``_wait_retrieval`` before each look at its results, and sleeps where there are none. Here
        the answer comes once there are some. Who reads a generator computes between two results, and keeps the slot.
        """
        call, parallel = self._call, self.parallel
        if call is None:  # it was aborted before its results were read
            yield
            return
        is_unfinished = parallel._wait_retrieval
        seconds = math.inf if parallel.timeout is None else TIMED_LOOK

        def wait_for_results() -> bool:
            call.wait_while(lambda: is_unfinished() and not parallel._aborting and not _has_result(parallel), seconds)
            return bool(is_unfinished())

        parallel._wait_retrieval = wait_for_results
        try:
            yield
        finally:
            vars(parallel).pop("_wait_retrieval", None)

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel what has not ended, and wait until it is confirmed; nothing starts before the next call does."""
        if self._call is not None:
            self._call.cancel()

    def terminate(self) -> None:
        """End the use of the executor, which goes on: the next call of ``Parallel`` finds its processes warm."""
        self._call = None
        self.reset_batch_stats()


def _has_result(parallel: Any) -> bool:
    """Return whether a ``Parallel`` would take in a result now; a list is taken in as a whole, at the end."""
    if parallel.return_as == "list" and parallel.timeout is None:
        return False
    jobs = parallel._jobs  # unordered: those that have ended
    return bool(jobs) and (not parallel.return_ordered or jobs[0].status != TASK_PENDING)


def _task_options_in(options: dict[str, Any]) -> dict[str, Any]:
    """Return the checked options of tasks among a backend's options, without those that joblib passes to every backend.

    Raises
    ------
    TypeError
        An option has no effect here; or one is not what it must be, as for ``submit_verbose``.
    ValueError
        As for ``submit_verbose``.
    """
    found = {name: value for name, value in options.items() if name in TASK_OPTIONS}
    for name in options.keys() - found.keys() - WITHOUT_EFFECT:
        hint = did_you_mean(name, TASK_OPTIONS, repr) or f": of a task's there are {', '.join(sorted(TASK_OPTIONS))}"
        if name in inspect.signature(NotebookExecutor).parameters:
            hint = (
                ": give what tasks need to the executor, and that to the backend, as in "
                f"NotebookExecutor({name}=…).joblib_backend()"
            )
        raise TypeError(f"the backend {NAME!r} has no option {name!r}{hint}")
    task_options("joblib", **found)
    return found


joblib.register_parallel_backend(NAME, ScalerBackend)
