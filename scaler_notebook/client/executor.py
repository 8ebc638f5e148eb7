"""``NotebookExecutor``: a ``concurrent.futures.Executor`` whose tasks can be seen and stopped."""

import atexit
import weakref
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

from scaler_notebook.engines.base import Engine
from scaler_notebook.engines.local.client.gpus import Gpus
from scaler_notebook.protocol.messages import TaskOptions
from scaler_notebook.protocol.pickling.proxies import proxies_in
from scaler_notebook.wording import counted

from .engine_choice import EngineChoice
from .engine_client import EngineClient
from .futures.future import ScalerFuture
from .futures.item_stream import ItemStream
from .map_calls import MapCalls
from .session import nested
from .session.exit_hooks import Exit, before_exit
from .session.session import open_sessions
from .submission.call_text import call_text
from .submission.checked_values import checked_count, checked_workers
from .submission.initializer import checked_initializer
from .submission.iterables import are_at_hand, refuse_endless
from .submission.options import checked_call, names_options, task_options
from .task_state.cancel_policy import OnInterrupt
from .waiting import callback_thread
from .waiting.host import current_host

T = TypeVar("T")

_at_home: "dict[str, NotebookExecutor]" = {}  # in a task process: retained from one task to the next
_executors: "list[weakref.ref[NotebookExecutor]]" = []  # in the order in which they were made


class NotebookExecutor(EngineClient, Executor):
    """An executor that runs calls on worker processes of this machine, or of a cluster.

    The engine starts with the first task and ends with :meth:`shutdown`, with the kernel, or with the script (which
    waits for its tasks and their callbacks, as the standard pools do). No ``__main__`` guard is needed; functions,
    lambdas and classes defined in the notebook travel by value.

    Parameters
    ----------
    address
        The :attr:`address` of another executor on this machine, whose engine this one is to use too; by default an
        engine of its own or, within a task, the engine that runs the task. The engine stays with the executor that
        started it, and ends with that. An executor that is an argument of a task uses the same engine there.
        ``scaler://host:port`` is a cluster of OpenGRIS Scaler; ``docs/clusters.md`` says what is different there.
    n_workers
        How many tasks run at the same time; by default the cores that this process may use (affinity and cgroup
        limits respected).
    max_workers
        The standard library's name for the same.
    initializer, initargs
        As the standard library's: ``initializer(*initargs)`` is called once in each task process, before the first
        task of this executor there, and is a part of that task: its output, its time, and a cancel that stops both.
        Both are pickled now. When the initializer raises, the executor is broken: what is unfinished ends with an
        :class:`InitializerError`, and so do later submits. When it ends its process, that task fails alone. At an
        address the processes are others' too, and keep what the initializer does to them.
    max_tasks_per_child
        How many tasks a process runs before another takes its place; by default as many as come. What a task has
        left running there (threads, processes) ends with it.
    gpus
        The GPUs that tasks may be given, by ``submit_verbose(..., gpus=1)``: ``"auto"`` for all that this process may
        use, a number of them, or a list of their numbers as ``nvidia-smi`` has them (within ``CUDA_VISIBLE_DEVICES``,
        if that is set). Texts in a list are names, of pretended ones too. Tasks that ask for none see none then.
    idle_timeout
        Seconds after which a task process that has had nothing to do goes, and with it what it holds in memory. It
        comes back when a task needs it, and imports anew. By default none goes.
    capabilities
        What tasks may need beside a worker, e.g. ``{"licence": 2}``: how much of each there is in all. The tasks that
        run share it.
    grace
        Seconds that a running task gets between the interrupt of a cancel and the kill (or the refusal); 1 unless
        ``%scaler config`` says otherwise.
    on_interrupt
        What becomes of the tasks when the stop button (or Ctrl-C) ends a wait for them: ``"ask"`` (unless
        ``%scaler config`` says otherwise): they run on and their cards offer Cancel; ``"cancel"``: they are
        cancelled, by force; ``"leave"``: they run on.
    stream_output
        Whether what tasks write to stdout and stderr is printed here as it comes, line by line, with the task's name in
        front. By default in a script, where nothing else shows it; not in a notebook, in a terminal's IPython with
        ``%load_ext``, or within a task.

    Raises
    ------
    ValueError
        An address that is none, or with what its engine has decided (workers, capabilities, tasks per process); a
        number of workers or tasks that is not positive, two that differ, a negative grace period, another
        ``on_interrupt``, or an amount of a capability that is not positive.
    TypeError
        A value of another type, or an option that does not exist.
    TaskSerializationError
        The initializer or one of its arguments cannot be pickled.
    """

    @names_options
    def __init__(
        self,
        address: str | None = None,
        *,
        n_workers: int | None = None,
        max_workers: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        max_tasks_per_child: int | None = None,
        gpus: Gpus | None = None,
        idle_timeout: float | None = None,
        capabilities: Mapping[str, int] | None = None,
        grace: float | None = None,
        on_interrupt: OnInterrupt | None = None,
        stream_output: bool | None = None,
    ) -> None:
        self._choice = EngineChoice(
            address, n_workers, max_workers, max_tasks_per_child, gpus, idle_timeout, capabilities
        )
        if isinstance(initargs, Iterator):
            initargs = tuple(initargs)
        prepare = checked_initializer(initializer, initargs)
        super().__init__(grace, on_interrupt, prepare, stream_output=stream_output)
        # Proxies of managers keep the managers' objects alive, for as long as the executor lives.
        self._proxies = proxies_in(initargs, prepare.arguments) if prepare is not None else ()
        _executors[:] = [*(known for known in _executors if known() is not None), weakref.ref(self)]

    @property
    def n_workers(self) -> int:
        """How many tasks run at the same time; 0 if the engine does not tell, as a cluster of Scaler's."""
        if self.is_attached:
            return self._running_session().requests.slots
        session = self._session
        return session.requests.slots if session is not None and session.alive else self._choice.workers

    def scale(self, n_workers: int) -> None:
        """Change how many tasks run at the same time, for all clients of the engine; returns at once.

        What is running goes on. If there are more workers then, queued tasks start; if there are fewer, none starts
        before the running ones are that few, and the processes that are too many end with their tasks. The threads that
        numerical libraries use in each process stay as they were at the engine's start.

        Parameters
        ----------
        n_workers
            The number, at least 1.

        Raises
        ------
        TypeError, ValueError
            It is no such number; or the engine's workers are started elsewhere: a cluster of OpenGRIS Scaler.
        """
        wanted = checked_workers(n_workers)
        if self.is_attached or self.is_running:
            self._running_session().requests.scale(wanted)
        if not self.is_attached:
            self._choice.workers = wanted

    @property
    def capabilities(self) -> dict[str, int] | None:
        """The amounts of what tasks may need, by name; None if the engine does not tell."""
        return self._running_session().capabilities if self.is_attached else dict(self._choice.capabilities)

    @property
    def gpus(self) -> tuple[str, ...] | None:
        """The names of the GPUs that tasks may be given; None if the engine gives none to any."""
        return self._running_session().engine.gpus if self.is_attached else self._choice.gpus

    def _new_engine(self) -> Engine:
        """Return the engine to use, not started yet."""
        return self._choice.new_engine(self._session)

    @property
    def is_attached(self) -> bool:
        """Whether the executor uses somebody else's engine."""
        return self._choice.address is not None

    @names_options
    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Submit a call for each item now; yield the results in order, as the standard library's ``map`` does.

        Parameters
        ----------
        fn
            What is called.
        iterables
            The arguments of the calls: the shortest iterable ends them.
        timeout
            Seconds from this call until the last result.
        chunksize
            How many calls are one task. 1, unless told otherwise: then each call can be seen and cancelled alone. More
            is quicker for short calls: the calls of a chunk have one row ``f × 100``, one cancel, one output, and one
            clean-up after them. When one raises, the chunk fails with that exception, as the standard library's does.
        buffersize
            As from Python 3.14 on: at most so many tasks are there whose results were not taken; the iterables, which
            may be endless then, are read as results are. None: all are submitted now.

        Raises
        ------
        ValueError, TypeError
            A size that is no positive integer; iterables without an end and no ``buffersize``.
        """
        if buffersize is None:
            refuse_endless(fn, iterables)
        items = zip(*iterables, strict=False)
        return self._map(fn, items, timeout, chunksize, buffersize, are_at_hand(iterables))

    @names_options
    def starmap(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        *,
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Do as :meth:`map` of one iterable whose items are the arguments of each call.

        Parameters
        ----------
        fn, timeout, chunksize, buffersize
            As for :meth:`map`.
        iterable
            The arguments of each call, as in ``[(2, 3), (4, 5)]``.

        Raises
        ------
        ValueError, TypeError
            As :meth:`map`; an item that is no sequence of arguments.
        """
        if buffersize is None:
            refuse_endless(fn, (iterable,))
        return self._map(fn, map(tuple, iterable), timeout, chunksize, buffersize)

    def _map(
        self,
        fn: Callable[..., T],
        items: Iterator[tuple[Any, ...]],
        timeout: float | None,
        chunksize: int,
        buffersize: int | None,
        at_hand: bool = False,
    ) -> Iterator[T]:
        """Do as :meth:`starmap`.

        Parameters
        ----------
        fn, timeout, chunksize, buffersize
            As for :meth:`map`.
        items
            The positional arguments of each call.
        at_hand
            Are the items there, so that to read one takes no time?
        """
        most = None if buffersize is None else checked_count("buffersize", buffersize)
        calls = MapCalls(self, fn, items, checked_count("chunksize", chunksize), at_hand)
        return calls.results(calls.submitted(most), timeout)

    def submit_stream(
        self, fn: Callable[..., Iterable[T] | AsyncIterable[T]], /, *args: Any, **kwargs: Any
    ) -> ItemStream[T]:
        """Run a generator on a worker process; return at once what its items are read from, as they come.

        Parameters
        ----------
        fn
            A generator function, one of asynchronous generators (``async def`` with ``yield``), or any other function
            that returns an iterable.
        args, kwargs
            Its positional arguments, and the others by name.

        Returns
        -------
        ItemStream
            ``for item in stream``, ``async for item in stream``.

        Raises
        ------
        TypeError
            ``fn`` is no function: a generator, for instance, which has begun here.
        ValueError
            The engine passes on no items: a cluster of OpenGRIS Scaler.
        Exception
            As :meth:`submit`.
        """
        args, kwargs = checked_call(fn, args, kwargs)
        return self._submit_stream(fn, args, kwargs, TaskOptions(call_text(fn, args, kwargs)))

    @names_options
    def submit_stream_verbose(
        self,
        fn: Callable[..., Iterable[T] | AsyncIterable[T]],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        priority: int = 0,
        timeout: float | None = None,
        capabilities: Mapping[str, int] | None = None,
        resources: Mapping[str, float] | None = None,
        memory_limit: float | None = None,
        run_timeout: float | None = None,
        gpus: float = 0,
    ) -> ItemStream[T]:
        """Do as :meth:`submit_stream`, with the call's arguments as two values and options beside them.

        There are no retries: what was read before a failure would come again. The limits of time go on while the task
        waits for its reader.

        Parameters
        ----------
        fn
            As for :meth:`submit_stream`.
        args, kwargs, name, priority, timeout, capabilities, resources, memory_limit, run_timeout, gpus
            As for :meth:`submit_verbose`.

        Raises
        ------
        Exception
            As :meth:`submit_stream` and :meth:`submit_verbose`.
        """
        args, kwargs = checked_call(fn, args, kwargs)
        options = task_options(
            call_text(fn, args, kwargs),
            name=name,
            priority=priority,
            timeout=timeout,
            capabilities=capabilities,
            resources=resources,
            memory_limit=memory_limit,
            run_timeout=run_timeout,
            gpus=gpus,
        )
        self._check_needs(options)
        return self._submit_stream(fn, args, kwargs, options)

    def _submit_stream(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: TaskOptions
    ) -> ItemStream[Any]:
        """Submit a call that returns an iterable; a ValueError if the engine passes on no items.

        Parameters
        ----------
        fn
            What is called.
        args, kwargs
            Its positional arguments, and the others by name.
        options
            The options of the task.
        """
        if not self._running_session().engine.sends_items:
            raise ValueError(f"{self.address} passes on no items before a task's end: return them, as a list")
        return self._calls.submit_stream(fn, args, kwargs, options)

    @property
    def _max_workers(self) -> int:
        """The number of workers, by the standard pools' private name, which dask and others read."""
        return self.n_workers

    def joblib_backend(self, **options: Any) -> Any:
        """Return a backend for joblib and scikit-learn whose calls are tasks of this executor.

        To be given to ``joblib.parallel_config(backend=...)``; see :mod:`scaler_notebook.interop.joblib`.

        Parameters
        ----------
        options
            ``inner_max_num_threads``: how many threads the numerical libraries may use within a call. Of each batch,
            as for :meth:`submit_verbose`: ``gpus``, ``capabilities``, ``retries``, ``retry_on``, ``priority``,
            ``resources``, ``memory_limit``, ``run_timeout``.

        Raises
        ------
        TypeError, ValueError
            Another option, or one that is not what it must be.
        ImportError
            joblib is not installed.
        """
        from scaler_notebook.interop.joblib import ScalerBackend

        return ScalerBackend(self, **options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks, let those there are finish, and end the engine.

        Parameters
        ----------
        wait
            Return only when that is done. Otherwise it happens on a thread of its own.
        cancel_futures
            Cancel what has not started yet.
        """
        session = self._current.shut_down()
        if session is None:
            return
        if cancel_futures:
            session.withdraw()
        if wait:
            session.lifetime.finish()
        else:
            session.lifetime.finish_later()

    def __reduce__(self) -> Any:
        return _attached, (self.address, self.policy.grace, self.policy.on_interrupt)

    def __repr__(self) -> str:
        if self.is_shut_down:
            state = "shut down"
        elif self._session is None:
            state = "not started"
        else:
            state = counted(len(self.unfinished()), "unfinished task")
        engine = f"at {self._choice.address}" if self.is_attached else counted(self.n_workers, "worker")
        return f"<NotebookExecutor {engine}, {state}>"


def _attached(address: str, grace: float, on_interrupt: OnInterrupt) -> NotebookExecutor:
    """Return what a pickled executor is elsewhere: one executor for all of an address in a process.

    Parameters
    ----------
    address
        The address of the engine.
    grace, on_interrupt
        As :class:`NotebookExecutor` has them.
    """
    for known in _executors:
        executor = known()
        if executor is not None and executor._choice.address == address and not executor.is_shut_down:
            return executor
    executor = NotebookExecutor(address, grace=grace, on_interrupt=on_interrupt)
    if nested.engine_address() == address:
        _at_home[address] = executor
    return executor


def latest() -> NotebookExecutor | None:
    """Return the executor that was made last, of those that take tasks; None if there is none."""
    made = (known() for known in reversed(_executors))
    return next((executor for executor in made if executor is not None and not executor.is_shut_down), None)


def all_unfinished() -> list[ScalerFuture[Any]]:
    """Return the unfinished futures of every executor of this process."""
    return [future for session in open_sessions() for future in session.lifetime.unfinished()]


def _before_exit() -> None:
    """Wait for a script's tasks, for what is called when they are done, and for what they print; not in a kernel."""
    if current_host().waits_at_exit:
        Exit.begun = True
        for session in open_sessions():
            session.lifetime.finish()
        callback_thread.drain()
        callback_thread.output.drain()


@atexit.register
def _at_exit() -> None:
    """End the engines that are left."""
    for session in open_sessions():
        session.close()


before_exit(_before_exit)
