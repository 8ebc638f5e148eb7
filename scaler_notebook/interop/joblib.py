"""A backend of joblib: ``Parallel``, and whatever in scikit-learn has ``n_jobs``, runs on an executor.

An import of this module registers the backend ``"scaler_notebook"``::

    import scaler_notebook.interop.joblib
    with joblib.parallel_config(backend="scaler_notebook"):
        GridSearchCV(model, grid, n_jobs=-1).fit(X, y)

``parallel_config(backend=executor.joblib_backend())`` does the same on a certain executor. Each batch of calls is a
task. Large arrays are in memory that all processes share, so joblib's own memory mapping has nothing to do.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import joblib
from joblib.parallel import AutoBatchingMixin, FallbackToBackend, ParallelBackendBase, SequentialBackend

from scaler_notebook.client.executor import NotebookExecutor, latest
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.permission import may_wait
from scaler_notebook.task.modules.joblib_backend import NAME
from scaler_notebook.wording import with_article

from .parallel_call import Completed, Job, ParallelCall

QUEUED = 2  # tasks for each job: one that runs, and one that follows; joblib gives as many unless told otherwise
MAX_NESTING = 2  # levels of Parallel within Parallel whose calls are tasks; deeper ones run in their task
# Options about memory maps and process pools, which are replaced by shared memory and by the executor.
WITHOUT_EFFECT = frozenset(
    {"context", "idle_worker_timeout", "max_nbytes", "mmap_mode", "prefer", "require", "temp_folder", "verbose"}
)


class ScalerBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """A joblib backend whose batches are tasks of an executor.

    Implements what joblib 1.5 and 1.6 document of ``ParallelBackendBase``.

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
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True

    def __init__(
        self,
        executor: NotebookExecutor | None = None,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        **options: Any,  # of other backends, which joblib passes to any
    ) -> None:
        if executor is not None and not isinstance(executor, NotebookExecutor):
            raise TypeError(f"executor is a NotebookExecutor, not {with_article(type(executor).__name__)}")
        _check(options)
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._given = executor
        self._made: NotebookExecutor | None = None  # held, as nobody else does
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
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return max(self._workers() + 1 + n_jobs, 1) if n_jobs < 0 else n_jobs

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
            One batch at a time runs as well in this process.
        TypeError
            An option is one of another backend, and would have no effect here.
        """
        _check(options)
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._n_jobs = n_jobs
        # Where the workers bound how many run, each has its next batch in the queue while joblib takes results in.
        self._most = QUEUED * n_jobs if 0 < self.executor.n_workers <= n_jobs else n_jobs
        return n_jobs

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
        self._call = ParallelCall(self.executor, self._most, self.inner_max_num_threads)

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
        if self._call is None:  # a Parallel that is used as a context manager
            self.start_call()
        assert self._call is not None
        return self._call.submit(func, callback)

    apply_async = submit  # joblib 1.4 and older

    def retrieve_result_callback(self, out: Job) -> list[Any]:
        """Return the results of a batch that has ended, or raise what a call in it has raised."""
        return out.result()

    @contextlib.contextmanager
    def retrieval_context(self) -> Iterator[None]:
        """Wait as this package does, before joblib collects results: buttons work, and a task lends its slot."""
        call, parallel = self._call, self.parallel
        with current_host().release_slot():
            if call is not None and parallel.return_as == "list" and parallel.timeout is None and may_wait():
                call.wait_while(lambda: parallel._wait_retrieval() and not parallel._aborting)
            yield

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel what has not ended, and wait until it is confirmed."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        if ensure_ready:
            self.start_call()

    def terminate(self) -> None:
        """End the use of the executor, which goes on: the next call of ``Parallel`` finds its processes warm."""
        self._call = None
        self.reset_batch_stats()


def _check(options: dict[str, Any]) -> None:
    """Raise a TypeError for an option that has no effect here, unless joblib passes that option to every backend."""
    for name in options.keys() - WITHOUT_EFFECT:
        raise TypeError(
            f"the backend {NAME!r} has no option {name!r}: give what tasks need to the executor, and that to the "
            f"backend, as in NotebookExecutor({name}=…).joblib_backend()"
        )


joblib.register_parallel_backend(NAME, ScalerBackend)
