"""``EngineClient``: what every client of an engine does: submit calls, give futures, stop what was submitted."""

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from scaler_notebook.engines.base import Engine
from scaler_notebook.protocol import devices
from scaler_notebook.protocol.capabilities import check
from scaler_notebook.protocol.errors import EngineLostError
from scaler_notebook.protocol.messages import EngineStatus, Initializer, TaskOptions
from scaler_notebook.task import top_level

from . import names
from .agent.output_printer import OutputPrinter
from .call_submitter import CallSubmitter
from .futures.future import CANCEL_TIMEOUT, ScalerFuture
from .futures.group import FutureGroup
from .futures.growing_group import GrowingGroup
from .session.current_session import CurrentSession
from .session.session import Session
from .session_log import live_groups
from .submission.call_text import call_text, function_name
from .submission.iterables import are_at_hand, refuse_endless
from .submission.options import (
    RetryOn,
    check_options_of_calls,
    checked_call,
    names_options,
    plain_options,
    task_options,
)
from .submission.serializer import Serializer
from .task_state.cancel_policy import DEFAULTS, CancelPolicy, OnInterrupt
from .task_state.observed_task import ObservedTask
from .task_state.references import ObjectReference
from .waiting.host import current_host

P = ParamSpec("P")
T = TypeVar("T")


class EngineClient(ABC):
    """A client of an engine, which starts with the first task.

    When the engine is lost, the next task starts another. In a forked child the client connects anew with the first
    task there.

    Parameters
    ----------
    grace, on_interrupt
        As :class:`~.executor.NotebookExecutor` has them; None: as ``%scaler config`` says.
    initializer
        What comes before the first of the client's tasks in each process.
    serializer
        As :class:`~.call_submitter.CallSubmitter` has it.
    stream_output
        As :class:`~.executor.NotebookExecutor` has it.
    """

    _lost_error = EngineLostError  # what futures end with when the engine is lost

    def __init__(
        self,
        grace: float | None,
        on_interrupt: OnInterrupt | None,
        initializer: Initializer | None = None,
        *,
        serializer: Serializer | None = None,
        stream_output: bool | None = None,
    ) -> None:
        self._initializer = initializer
        self.policy = CancelPolicy(
            DEFAULTS.grace if grace is None else grace,
            DEFAULTS.on_interrupt if on_interrupt is None else on_interrupt,
        )
        if stream_output not in (None, True, False):
            raise TypeError(f"stream_output is True, False or None, not {stream_output!r:.60}")
        self._stream_output = stream_output
        self._current = CurrentSession(weakref.WeakMethod(self._new_session))
        self._calls = CallSubmitter(self._current, self.policy, serializer)

    if not TYPE_CHECKING:  # a type checker would take every name for an attribute

        def __getattr__(self, name: str) -> Any:
            """Raise an AttributeError, which says what other libraries' methods are called here."""
            __tracebackhide__ = True
            names.raise_missing(self, name, names.OF_EXECUTORS)

    # ------------------------------------------------------------------ the engine

    @property
    def _has_own_submit(self) -> bool:
        """Whether a subclass of the user's submits in a way of its own: then so do the methods that submit many."""
        return type(self).submit is not EngineClient.submit

    @abstractmethod
    def _new_engine(self) -> Engine:
        """Return the engine to use, not started yet."""

    @property
    @abstractmethod
    def capabilities(self) -> dict[str, int] | None:
        """The amounts of what tasks may need, by name; None if the engine does not tell."""

    @property
    def gpus(self) -> tuple[str, ...] | None:
        """The names of the GPUs that tasks may be given; None if the engine gives none to any."""
        return self._running_session().engine.gpus

    @property
    def grace(self) -> float:
        """Seconds between the interrupt and what follows; may be set at any time, for tasks submitted before too."""
        return self.policy.grace

    @grace.setter
    def grace(self, seconds: float) -> None:
        """Set the grace period."""
        self.policy.grace = seconds

    @property
    @names.untyped
    def on_interrupt(self) -> OnInterrupt:
        """The effect of the stop button on tasks that somebody waits for; may be set at any time."""
        return self.policy.on_interrupt

    @on_interrupt.setter
    def on_interrupt(self, choice: OnInterrupt) -> None:
        """Set the effect of the stop button."""
        self.policy.on_interrupt = choice

    @property
    def is_shut_down(self) -> bool:
        """Whether the executor takes no more tasks."""
        return self._current.is_shut_down

    @property
    def is_running(self) -> bool:
        """Whether the executor has an engine now."""
        return self._session is not None and self._session.alive

    @property
    def address(self) -> str:
        """Where other processes of this user on this machine reach the engine; starts the engine if need be."""
        return self._running_session().address

    def start(self) -> None:
        """Start the engine now, or connect to it; otherwise the first task does. Idempotent.

        Raises
        ------
        EngineStartError
            The engine cannot be had.
        RuntimeError
            The executor is shut down.
        """
        self._running_session()

    def engine_status(self, timeout: float = 2.0) -> EngineStatus | None:
        """Return what the engine does now, for all of its clients; starts the engine if need be.

        Parameters
        ----------
        timeout
            Seconds; after them None: the engine does not answer.
        """
        return self._running_session().requests.status(timeout)

    @property
    def is_paused(self) -> bool:
        """Whether none of this client's tasks starts: :meth:`pause`."""
        return self._session is not None and self._session.pause.is_on

    def pause(self) -> None:
        """Have the engine start none of this client's tasks until :meth:`resume`; starts the engine if need be.

        What runs goes on, with the tasks that it submits itself. What is queued stays so, is cancelled as ever, and its
        time-outs go on. Returns at once. Whoever waits for the tasks' end, :meth:`shutdown` or the end of a script,
        resumes them.

        Raises
        ------
        ValueError
            The engine keeps nothing back: a cluster of OpenGRIS Scaler, threads.
        """
        session = self._running_session()
        if not session.engine.can_pause:
            raise ValueError(f"{session.address} keeps no tasks back: submit them later, or cancel what is queued")
        session.pause.begin()

    def resume(self) -> None:
        """Have the engine start this client's tasks again. Idempotent."""
        if self._session is not None:
            self._session.pause.end()

    def _display_(self) -> Any:
        """Return what marimo displays."""
        return current_host().widget(self)

    @property
    def _session(self) -> Session | None:
        """The last session, alive or not; None before the first task."""
        return self._current.session

    def _running_session(self) -> Session:
        """Return a session that is alive; starts the engine if need be."""
        return self._current.running()

    def _new_session(self) -> Session:
        """Return a new session, which is not open yet."""
        top_level.refuse_at_top_level()
        printer = OutputPrinter(self._stream_output)
        session = Session(self._new_engine(), weakref.ref(self), self._initializer, self._lost_error, printer)
        before = self._session
        if before is not None and before.pause.is_on and not before.lifetime.is_inherited:  # the engine was lost
            session.pause.begin()
        # An executor that nobody holds takes no more tasks; its tasks run on.
        weakref.finalize(self, session.lifetime.finish_later).atexit = False
        return session

    # ------------------------------------------------------------------ tasks

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> ScalerFuture[T]:
        """Run ``fn(*args, **kwargs)`` on a worker process; return the future at once.

        Parameters
        ----------
        fn
            What is called. A coroutine that it returns is run there, too, in an event loop of its own.
        args, kwargs
            Its positional arguments, and the others by name.

        Raises
        ------
        TaskSerializationError
            The function or an argument cannot be pickled; the message names which.
        EngineStartError
            The engine cannot be started.
        RuntimeError
            The executor is shut down.
        InitializerError
            The executor's initializer has raised. (A ``BrokenExecutor``.)
        """
        return self._calls.submit(fn, args, kwargs, plain_options(call_text(fn, args, kwargs)))

    @names_options
    def submit_verbose(
        self,
        fn: Callable[..., T],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        priority: int = 0,
        retries: int = 0,
        timeout: float | None = None,
        capabilities: Mapping[str, int] | None = None,
        retry_on: RetryOn | None = None,
        resources: Mapping[str, float] | None = None,
        memory_limit: float | None = None,
        run_timeout: float | None = None,
        gpus: float = 0,
    ) -> ScalerFuture[T]:
        """Do as :meth:`submit`, with the call's arguments as two values and options beside them.

        Parameters
        ----------
        fn
            What is called.
        args, kwargs
            A tuple (or list) of the positional arguments, and a dictionary of the others.
        name
            What cards, boards and messages show instead of the call; cut after 200 characters.
        priority
            Of queued tasks those with the highest priority run first, equal ones in the order of submission. What runs
            is never stopped for another.
        retries
            How often the task is tried again when it has raised an exception, or its process has died; after 0.1 s,
            then 0.2 s and so on up to 10 s. The future is not done before the last try, ``tries`` counts them, and
            tracebacks of earlier ones are in its output. A task that is cancelled is not tried again.
        timeout
            Seconds from now on, for all tries together. A task that has not ended by then is cancelled by force,
            with the executor's grace period, for the reason ``TIMED_OUT``.
        capabilities
            What the task needs of the executor's :attr:`capabilities`, e.g. ``{"licence": 1}``. The task waits until as
            much is free; tasks that need none of the same run meanwhile.
        retry_on
            On which errors the task is tried again: an exception class or a tuple of them, as after ``except``; by
            default on any. The death of a task's process is a :class:`~scaler_notebook.ProcessorDiedError`: that, or a
            class above it (``WorkerDiedError``, ``RuntimeError``, ``Exception``), means such a death too.
        resources
            ``{"memory": 2e9}``: the bytes that the task is expected to take at most. A hint and no limit: the task
            waits while what the running tasks have so announced, and its own, is more than the machine has (or the
            control group of the engine, in a container). A task that alone announces more runs when nothing else with a
            hint does, and nothing with a hint overtakes it. Tasks without a hint neither wait nor count.
        memory_limit
            Bytes, e.g. ``2e9``. When the task's process and what that has started have more than that resident, they
            are killed: this task alone fails, with a :class:`~scaler_notebook.ProcessorDiedError` that says limit and
            size. The size is looked at twenty times a second, so that a task can have more for a moment.
        run_timeout
            Seconds that each try may run: the time in the queue, and between two tries, does not count. A try that has
            not ended by then is cancelled as with ``timeout``, and what is cancelled is not tried again.
        gpus
            How many of the executor's :attr:`gpus` the task has to itself; or a share of one, e.g. ``0.5``, in
            hundredths, which it has with others whose shares fit. It sees no others: ``cuda:0`` is its first. The task
            waits until they are free, and their memory is. A task without sees none, where the executor has any.

        Raises
        ------
        TypeError, ValueError
            An option is not what it must be; the message says what that is. Or the engine enforces no ``memory_limit``,
            or gives no ``gpus``: a cluster of OpenGRIS Scaler, threads.
        TaskSerializationError
            The function, an argument or a class in ``retry_on`` cannot be pickled; the message names which.
        CapabilityError
            The engine does not have what the task needs, or has less of it. (A ``ValueError``.)
        """
        args, kwargs = checked_call(fn, args, kwargs)
        call = call_text(fn, args, kwargs)
        options = task_options(
            call,
            name=name,
            priority=priority,
            retries=retries,
            timeout=timeout,
            capabilities=capabilities,
            retry_on=retry_on,
            resources=resources,
            memory_limit=memory_limit,
            run_timeout=run_timeout,
            gpus=gpus,
        )
        self._check_needs(options)
        return self._calls.submit(fn, args, kwargs, options)

    def resubmit(self, future: ObservedTask) -> ScalerFuture[Any]:
        """Submit the call of a future again, with the arguments as they were; also of another executor's future.

        Raises
        ------
        RuntimeError
            The executor is shut down, or the call is gone with the engine that had its large arguments, or it needs
            what was left with the engine for the other nodes of its graph alone.
        """
        if future.task is not None:
            self._check_needs(future.task.options)
        return self._calls.resubmit(future)

    def map_async(
        self, fn: Callable[..., T], *iterables: Iterable[Any], name: str | None = None, **options: Any
    ) -> FutureGroup[T]:
        """Submit a call for each item (or tuple of items) now; return the futures as a group.

        Parameters
        ----------
        fn
            What is called.
        iterables
            The arguments of the calls: the shortest iterable ends them.
        name
            The name of the group, e.g. for its board; by default the function's and the number of calls.
        options
            Options of each call, as for :meth:`submit_verbose`: ``retries``, ``run_timeout``, ``priority``…

        Raises
        ------
        TypeError, ValueError
            The iterables have no end (:mod:`itertools`' ``count``, ``cycle`` and ``repeat``); or as
            :meth:`submit_verbose`, also where there is no item.
        """
        __tracebackhide__ = True
        refuse_endless(fn, iterables)
        self._check_options(options)
        growing: GrowingGroup[T] = GrowingGroup(function_name(fn), iterables)
        calls = zip(*iterables, strict=False)
        if not options and are_at_hand(iterables) and not self._has_own_submit:
            for burst in self._calls.submit_bursts(fn, calls):
                for future in burst:
                    growing.add(future)
        for args in calls:
            growing.add(self.submit_verbose(fn, args, {}, **options) if options else self.submit(fn, *args))
        group = growing.complete(name)
        live_groups.add(group)
        return group

    def _check_options(self, options: Mapping[str, Any]) -> None:
        """Raise what is wrong with options of calls, whether there are any calls or not."""
        __tracebackhide__ = True
        if type(self).submit_verbose.__module__.startswith("scaler_notebook."):  # a user's own may take others
            check_options_of_calls(options)

    @names_options
    def get(
        self,
        graph: Mapping[str, Any],
        keys: Iterable[str],
        block: bool = True,
        *,
        priority: int = 0,
        retries: int = 0,
        capabilities: Mapping[str, int] | None = None,
    ) -> dict[str, Any]:
        """Compute what ``keys`` need of a graph: a dictionary of values, and of calls as ``(function, key, …)``.

        Each node runs as soon as those that it needs have ended; their values go from task to task and not through
        this process. What needs a node that fails fails with the same exception, what needs a cancelled one is
        cancelled: *parent cancelled*.

        Parameters
        ----------
        graph
            By name a value, an :class:`~.task_state.references.ObjectReference`, or a call.
        keys
            The names whose values are wanted; only these and the nodes that they need are computed.
        block
            Wait, and return the values by key; if one fails, the rest is cancelled. Otherwise return the futures at
            once, as :class:`~.task_graph.GraphFutures`.
        priority, retries, capabilities
            Of every node, as for :meth:`submit_verbose`.

        Raises
        ------
        graphlib.CycleError
            Nodes need each other.
        KeyError
            A key is not in the graph, or asked for twice.
        TypeError
            A key of the graph, or an argument of a call, is no text.
        Exception
            With ``block``, what the first failed key raised.
        """
        __tracebackhide__ = True
        options = task_options("", priority=priority, retries=retries, capabilities=capabilities)
        self._check_needs(options)
        futures = self._calls.submit_graph(graph, keys, options)
        if not block:
            return futures
        try:
            return futures.results()
        except KeyboardInterrupt:
            raise  # the stop button: the policy decides what becomes of the tasks
        except BaseException:
            futures.request_cancel()
            raise

    def send_object(self, obj: Any, name: str | None = None) -> ObjectReference:
        """Send an object to the engine once; the reference stands for it in the arguments of any number of tasks.

        The object is sent as it is now: later changes are not seen. The engine keeps it until :meth:`clear`, or the
        engine's end.

        Parameters
        ----------
        obj
            The object.
        name
            What a person reads of it; by default its type.

        Raises
        ------
        TaskSerializationError
            The object cannot be pickled; the message names why.
        """
        return self._calls.send_object(obj, name)

    def _check_needs(self, options: TaskOptions) -> None:
        """Raise a CapabilityError or a ValueError for options that the engine cannot meet."""
        if options.gpus:
            devices.check(options.gpus, self._gpus_for(options))
        there = self.capabilities if options.capabilities else None
        if there is not None:  # else the engine does not tell: a task that no worker can run waits
            check(options.capabilities, there)
        if options.memory_limit and not self._running_session().engine.limits_memory:
            raise ValueError(
                f"the engine of {options.name} does not enforce a memory_limit: leave it out, and limit its workers"
            )

    def _gpus_for(self, options: TaskOptions) -> tuple[str, ...]:
        """Return the devices that there are for a task; a ValueError if the engine gives none to any."""
        there = self.gpus
        if there is None:
            raise ValueError(
                f"the engine of {options.name} gives tasks no GPUs: leave gpus out. On a cluster of OpenGRIS Scaler a "
                "worker has what it was started with, and capabilities={'gpu': 1} asks for such a one; threads have "
                "what this process has"
            )
        return there

    # ------------------------------------------------------------------ their end

    def unfinished(self) -> list[ScalerFuture[Any]]:
        """Return the futures of this executor that have not ended, in the order of submission."""
        return self._session.lifetime.unfinished() if self._session is not None else []

    def cancel_all(
        self, timeout: float | None = CANCEL_TIMEOUT, force: bool = True, grace: float | None = None
    ) -> bool:
        """Cancel every unfinished task: all requests first, then one wait. True if all of them ended in time.

        Parameters
        ----------
        timeout, force, grace
            As for :meth:`ScalerFuture.cancel`.
        """
        return FutureGroup(self.unfinished()).cancel(timeout, force, grace)

    def clear(self, timeout: float | None = CANCEL_TIMEOUT) -> bool:
        """Cancel every unfinished task by force, and forget every object that was sent, as Scaler's client does.

        References to objects are good for nothing then (:class:`~scaler_notebook.MissingObjects`). The executor takes
        further tasks.
        """
        ended = self.cancel_all(timeout)
        if self._session is not None:
            self._session.objects.clear()
        return ended

    def disconnect(self, timeout: float | None = CANCEL_TIMEOUT) -> None:
        """Cancel what is unfinished and leave the engine; one of the executor's own ends, one at an address stays.

        What is not confirmed in time is cancelled all the same: *disconnected*. The executor takes no more tasks. Where
        waiting would block a loop or a widget's callback, ``disconnect`` asks, and the rest happens later.

        Parameters
        ----------
        timeout
            Seconds to wait for the confirmations; None waits for ever.
        """
        session = self._current.shut_down(disconnect=True)
        if session is not None:
            session.lifetime.disconnect(timeout)
