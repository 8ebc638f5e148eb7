"""What every client of an engine has: calls go in, futures come out, and all of them can be stopped."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ParamSpec, TypeVar

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.capabilities import check
from scaler_notebook.protocol.errors import MissingObjects
from scaler_notebook.protocol.messages import TaskOptions
from scaler_notebook.protocol.pickling.proxies import proxies_in

from . import task_graph as graphs
from .agent.session import Session
from .connected import Connected
from .context.own_modules import OWN_MODULES
from .futures.future import CANCEL_TIMEOUT, ScalerFuture
from .futures.group import FutureGroup
from .submission.call_pickling import PickledCall, pickle_call
from .submission.call_text import describe_call, function_name
from .submission.options import RetryOn, checked_call, names_options, task_options
from .task_state.lifecycle import TaskLifecycle
from .task_state.references import Noted, ObjectReference

P = ParamSpec("P")
T = TypeVar("T")


class EngineClient(Connected):
    """Submits calls, graphs and objects to its engine; parameters are those of :class:`~.connected.Connected`."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> ScalerFuture[T]:
        """Run ``fn(*args, **kwargs)`` on a worker process; gives its future at once.

        Raises
        ------
        TaskSerializationError
            The function or an argument cannot be pickled; the message names which.
        EngineStartError
            The engine cannot be started.
        RuntimeError
            The executor is shut down.
        InitializerError
            Its initializer has raised. (A ``BrokenExecutor``.)
        """
        return self._submit(fn, args, kwargs, TaskOptions(describe_call(fn, args, kwargs)))

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
    ) -> ScalerFuture[T]:
        """:meth:`submit` with the call's arguments as two values, and options beside them.

        Parameters
        ----------
        args, kwargs
            A tuple (or list) of the positional arguments, and a dictionary of the others.
        name
            What cards, boards and messages show instead of the call; cut after 200 characters.
        priority
            Of queued tasks those with the highest priority run first, equal ones in the order of submission. What runs
            is never stopped for another.
        retries
            How often it is tried again when it has raised an exception, or its process has died; after 0.1 s, then
            0.2 s and so on up to 10 s. The future is not done before the last try, ``tries`` counts them, and
            tracebacks of earlier ones are in its output. A task that is cancelled is not tried again.
        timeout
            Seconds from now on, for all its tries together. A task that has not ended by then is cancelled by force,
            with the executor's grace period, for the reason ``TIMED_OUT``.
        capabilities
            What it needs of the executor's :attr:`capabilities`, e.g. ``{"gpu": 1}``. It waits until as much is free;
            tasks that need none of the same run meanwhile.
        retry_on
            On which errors it is tried again: an exception class or a tuple of them, as after ``except``; by default on
            any. The death of its process is a :class:`~scaler_notebook.ProcessorDiedError`: that, or a class above it
            (``WorkerDiedError``, ``RuntimeError``, ``Exception``), means it too.
        resources
            ``{"memory": 2e9}``: the bytes that it is expected to take at most. A hint and no limit: it waits while what
            the running tasks have so announced, and its own, is more than the machine has (or the control group of the
            engine, in a container). What alone is more than that runs when nothing else with a hint does, and nothing
            with a hint overtakes it. Tasks without one neither wait nor count.
        memory_limit
            Bytes, e.g. ``2e9``. When the task's process and what that has started have more than that resident, they
            are killed: this task alone fails, with a :class:`~scaler_notebook.ProcessorDiedError` that says limit and
            size. It is looked at twenty times a second, so that a task can have more for a moment.

        Raises
        ------
        TypeError, ValueError
            An option is not what it must be; the message says what that is. Or the engine enforces no ``memory_limit``:
            a cluster of OpenGRIS Scaler, threads.
        TaskSerializationError
            The function, an argument or a class in ``retry_on`` cannot be pickled; the message names which.
        CapabilityError
            The engine does not have what it needs, or has less of it. (A ``ValueError``.)
        """
        args, kwargs = checked_call(fn, args, kwargs)
        call = describe_call(fn, args, kwargs)
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
        )
        return self._submit(fn, args, kwargs, options)

    def resubmit(self, future: TaskLifecycle) -> ScalerFuture[Any]:
        """Submit the call of a future again, with the arguments as they were; also of another executor's future.

        Raises
        ------
        RuntimeError
            The executor is shut down, or the call is gone with the engine that had its large arguments, or it needs
            what was left with the engine for the other nodes of its graph alone.
        """
        task = future.task
        if task is None:
            raise RuntimeError(f"the arguments of {future.call or future.task_id} are gone; submit the call anew")
        gone = [each.call for each in future.inputs.values() if isinstance(each, ScalerFuture) and each.stays]
        if gone:
            raise RuntimeError(
                f"{future.call} needs values that were kept for the rest of its graph alone: {', '.join(gone)}; "
                "call get() again"
            )
        OWN_MODULES.refresh()
        return self._send(task.options, PickledCall(task.function, task.arguments, future.inputs, future.proxies))

    def map_async(self, fn: Callable[..., T], *iterables: Iterable[Any]) -> FutureGroup[T]:
        """Submit a call for each item (or tuple of items) now; gives their futures as a group.

        Raises
        ------
        ValueError
            The iterables have no end (:mod:`itertools`' ``count``, ``cycle`` and ``repeat``).
        """
        self.check_ends(fn, iterables)
        futures = [self.submit(fn, *args) for args in zip(*iterables, strict=False)]
        return FutureGroup(futures, f"{function_name(fn)} × {len(futures)}")

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
            What is wanted; nothing else of the graph is computed than what these need.
        block
            Wait, and give the values by key; if one fails, the rest is cancelled. Otherwise give the futures at once,
            as :class:`~.task_graph.GraphFutures`.
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
        nodes = graphs.culled(graph, keys := graphs.checked_keys(graph, keys))
        session = self._running_session()
        futures = graphs.submitted(nodes, keys, session, partial(self._new_future, session), self._pickled, options)
        if not block:
            return futures
        try:
            return futures.results()
        except KeyboardInterrupt:
            raise  # the stop button: what becomes of them is the policy's business
        except BaseException:
            futures.request_cancel()
            raise

    def send_object(self, obj: Any, name: str | None = None) -> ObjectReference:
        """Send an object to the engine once; the reference stands for it in the arguments of any number of tasks.

        It is sent as it is now: what changes in it later is not seen. It is kept until :meth:`clear`, or the engine's
        end.

        Parameters
        ----------
        name
            What a person reads of it.

        Raises
        ------
        TaskSerializationError
            It cannot be pickled; the message names why.
        """
        name = name if name is not None else type(obj).__name__
        OWN_MODULES.refresh()
        try:
            content = payloads.dump(obj)
        except Exception as error:
            raise payloads.serialization_error(f"the object {name}", obj, error) from error
        return self._running_session().send_object(content, name, proxies_in(obj, content))

    @staticmethod
    def check_ends(fn: Callable[..., Any], iterables: Sequence[Iterable[Any]]) -> None:
        """Raise a ValueError if none of them has an end."""
        if iterables and all(map(_is_endless, iterables)):
            raise ValueError(
                f"{function_name(fn)} would be called for ever: the iterables have no end. Cut one of them with "
                "itertools.islice, or take results as they come from NotebookExecutor.map(..., buffersize=100)"
            )

    def clear(self, timeout: float | None = CANCEL_TIMEOUT) -> bool:
        """Cancel every unfinished task by force, and forget every object that was sent, as Scaler's client does.

        References to objects are good for nothing then (:class:`~scaler_notebook.MissingObjects`). It takes tasks on.
        """
        ended = self.cancel_all(timeout)
        if self._session is not None:
            self._session.clear_objects()
        return ended

    def _submit(
        self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], options: TaskOptions
    ) -> ScalerFuture[T]:
        return self._send(options, self._pickled(fn, args, kwargs))

    def _pickled(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> PickledCall:
        return pickle_call(fn, args, kwargs)

    def _send(self, options: TaskOptions, call: PickledCall) -> ScalerFuture[Any]:
        self._check_needs(options)
        session = self._running_session()
        if call.inputs:
            _check_inputs(call.inputs, session, options.name)
        future = self._new_future(session, options)
        session.submit([(future, session.task(future, call, options))])
        return future

    def _check_needs(self, options: TaskOptions) -> None:
        there = self.capabilities if options.capabilities else None
        if there is not None:  # where the engine does not tell, a task that nobody can run waits
            check(options.capabilities, there)
        if options.memory_limit and not self._running_session().limits_memory:
            raise ValueError(
                f"the engine of {options.name} does not enforce a memory_limit: leave it out, and limit its workers"
            )

    def _new_future(self, session: Session, options: TaskOptions) -> ScalerFuture[Any]:
        return ScalerFuture(session.new_id(), options.name, session, self.policy)


def _check_inputs(inputs: Noted, session: Session, call: str) -> None:
    for name, what in inputs.items():
        if isinstance(what, TaskLifecycle):
            if not session.owns(what):
                raise ValueError(
                    f"an argument of {call} is the future {name}, of another client or of an engine that has ended: "
                    "pass its result() instead"
                )
        elif not session.has_object(name):
            raise MissingObjects(
                f"an argument of {call} refers to {what!r}, which this client's engine does not have: it was cleared, "
                "or it is another client's, or its engine has ended. Send it again with send_object()",
                (name,),
            )


def _is_endless(iterable: Iterable[Any]) -> bool:
    if isinstance(iterable, itertools.repeat):
        try:
            iterable.__length_hint__()
        except TypeError:  # what it says without a number of times; operator.length_hint says 0 then
            return True
        return False
    return isinstance(iterable, itertools.count | itertools.cycle)
