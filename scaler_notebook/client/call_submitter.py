"""The submits of one client: calls and objects are pickled, futures are made, and all of it is sent over a session."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.messages import Task, TaskOptions
from scaler_notebook.protocol.pickling.proxies import proxies_in
from scaler_notebook.task.calls.generator import GeneratorCall

from . import task_graph as graphs
from .context.user_modules import USER_MODULES
from .futures.future import ScalerFuture
from .futures.item_stream import ItemStream
from .session.current_session import CurrentSession
from .session.session import Session
from .submission.call_pickling import CallPickler, PickledCall, pickle_call
from .submission.call_text import function_name, text_with_arguments
from .submission.options import plain_options
from .submission.serializer import Serialized, Serializer, with_serializer
from .task_state.cancel_policy import CancelPolicy
from .task_state.observed_task import ObservedTask
from .task_state.references import ObjectReference

F = TypeVar("F", bound=ScalerFuture[Any])

BURST = 0.005  # seconds of pickling, after which what is pickled is sent
MAX_IN_BURST = 500  # calls


class CallSubmitter:
    """The submitter of one client's calls.

    Parameters
    ----------
    current
        Has the session that the calls are sent over.
    policy
        How the tasks are cancelled.
    serializer
        The user's own serializer of functions, arguments, results and objects; None for pickle.
    """

    def __init__(
        self,
        current: CurrentSession,
        policy: CancelPolicy,
        serializer: Serializer | None = None,
    ) -> None:
        self._current = current
        self._policy = policy
        self._serializer = serializer

    def submit(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: TaskOptions
    ) -> ScalerFuture[Any]:
        """Submit a call; return its future.

        Parameters
        ----------
        fn
            What is called.
        args, kwargs
            Its positional arguments, and the others by name.
        options
            The options of the task.
        """
        return self._send(self._pickled(fn, args, kwargs), options, ScalerFuture)

    def submit_bursts(
        self,
        fn: Callable[..., Any],
        items: Iterator[tuple[Any, ...]],
        name: Callable[[tuple[Any, ...]], str] | None = None,
    ) -> Iterator[list[ScalerFuture[Any]]]:
        """Submit calls of a function, which is pickled once, and yield their futures.

        As many as are pickled in a few milliseconds are submitted together. An error with one of them is raised when
        those before it are submitted.

        Parameters
        ----------
        fn
            What is called.
        items
            The positional arguments of each call, which are at hand.
        name
            Returns how a call with such arguments reads for a person; None for the call itself.
        """
        pickled = CallPickler(fn).pickle if self._serializer is None else lambda args: self._pickled(fn, args, {})
        if name is None:
            name = partial(text_with_arguments, function_name(fn))
        while burst := self._submit_burst(items, pickled, name):
            yield burst

    def _submit_burst(
        self,
        items: Iterator[tuple[Any, ...]],
        pickled: Callable[[tuple[Any, ...]], PickledCall],
        name: Callable[[tuple[Any, ...]], str],
    ) -> list[ScalerFuture[Any]]:
        """Submit the next calls, and return their futures; none if there are no more items.

        Parameters
        ----------
        items
            As for :meth:`submit_bursts`.
        pickled
            Returns a pickled call with the arguments that it is given.
        name
            Returns how that call reads for a person.
        """
        end = time.monotonic() + BURST
        session: Session | None = None
        tasks: list[tuple[ScalerFuture[Any], Task]] = []
        try:
            for args in items:
                call = pickled(args)
                session = session or self._current.running()
                tasks.append(self._new_task(session, call, plain_options(name(args)), ScalerFuture))
                if len(tasks) == MAX_IN_BURST or time.monotonic() > end:
                    break
        except Exception:
            if session is not None and tasks:
                session.tasks.submit(tasks)
            raise
        if session is not None and tasks:
            session.tasks.submit(tasks)
        return [future for future, _ in tasks]

    def submit_stream(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: TaskOptions
    ) -> ItemStream[Any]:
        """Submit a call that returns an iterable; return what its items are read from.

        Parameters
        ----------
        fn
            What is called.
        args, kwargs
            Its positional arguments, and the others by name.
        options
            The options of the task.
        """
        return self._send(self._pickled(GeneratorCall(fn), args, kwargs), options, ItemStream)

    def resubmit(self, future: ObservedTask) -> ScalerFuture[Any]:
        """Submit the call of a future again, with the arguments as they were; return the new future.

        Raises
        ------
        RuntimeError
            The call is gone with the engine that had its large arguments, or it needs what was left with the engine for
            the other nodes of its graph alone.
        """
        task = future.task
        if task is None:
            raise RuntimeError(f"the arguments of {future.call or future.task_id} are gone; submit the call anew")
        gone = [
            each.call for each in future.inputs.values() if isinstance(each, ScalerFuture) and each.retained_by_engine
        ]
        if gone:
            raise RuntimeError(
                f"{future.call} needs values that were kept for the rest of its graph alone: {', '.join(gone)}; "
                "call get() again"
            )
        USER_MODULES.refresh()
        call = PickledCall(task.function, task.arguments, future.inputs, future.proxies)
        return self._send(call, task.options, ItemStream if isinstance(future, ItemStream) else ScalerFuture, future)

    def submit_graph(self, graph: Mapping[str, Any], keys: Iterable[str], options: TaskOptions) -> graphs.GraphFutures:
        """Submit what the keys need of a graph; return the futures of the keys.

        Parameters
        ----------
        graph
            Values and calls by name, as the user gave them.
        keys
            The names whose values are wanted.
        options
            The options of every node, but for its name.
        """
        nodes = graphs.cull(graph, keys := graphs.checked_keys(graph, keys))
        session = self._current.running()
        return graphs.submit_graph(nodes, keys, session, partial(self.new_future, session), self._pickled, options)

    def send_object(self, obj: Any, name: str | None) -> ObjectReference:
        """Send an object; return what refers to it in the arguments of tasks.

        Parameters
        ----------
        obj
            The object.
        name
            What a person reads of it; None for its type.

        Raises
        ------
        TaskSerializationError
            The object cannot be pickled; the message names why.
        """
        name = name if name is not None else type(obj).__name__
        if self._serializer is not None:
            obj = Serialized(self._serializer, obj)
        USER_MODULES.refresh()
        try:
            content = payloads.dump(obj)
        except Exception as error:
            raise payloads.serialization_error(f"the object {name}", obj, error) from error
        return self._current.running().objects.send(content, name, proxies_in(obj, content))

    def new_future(self, session: Session, options: TaskOptions) -> ScalerFuture[Any]:
        """Return the future of a task that is not submitted yet.

        Parameters
        ----------
        session
            The session that the task is going to be sent over.
        options
            The options of the task.
        """
        return self._new_future(ScalerFuture, session, options)

    def _new_future(self, kind: type[F], session: Session, options: TaskOptions) -> F:
        """Do as :meth:`new_future`, for a future of a class of its own.

        Parameters
        ----------
        kind
            The class.
        session, options
            As for :meth:`new_future`.
        """
        return kind(session.new_id(), options.name, session, self._policy)

    def _pickled(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> PickledCall:
        """Return a pickled call, in the bytes of the user's serializer if there is one.

        Parameters
        ----------
        fn
            What is called.
        args, kwargs
            Its positional arguments, and the others by name.
        """
        if self._serializer is not None:
            fn, args, kwargs = with_serializer(self._serializer, fn, args, kwargs)
        return pickle_call(fn, args, kwargs)

    def _send(self, call: PickledCall, options: TaskOptions, kind: type[F], retried: ObservedTask | None = None) -> F:
        """Send a call, and return its future.

        Parameters
        ----------
        call
            The pickled call.
        options
            The options of the task.
        kind
            The class of its future.
        retried
            The task whose call it is, if it was submitted before.
        """
        session = self._current.running()
        future, task = self._new_task(session, call, options, kind)
        if retried is not None:
            future.retry_of = retried.task_id  # before views hear of it, from the agent
        session.tasks.submit([(future, task)])
        if retried is not None:
            retried.note_retry(future)
        return future

    def _new_task(self, session: Session, call: PickledCall, options: TaskOptions, kind: type[F]) -> tuple[F, Task]:
        """Return the future and the task of a call.

        Parameters
        ----------
        session
            The session that it is going to be sent over.
        call
            The pickled call.
        options
            The options of the task.
        kind
            The class of its future.
        """
        if call.inputs:
            session.check_inputs(call.inputs, options.name)
        future = self._new_future(kind, session, options)
        return future, session.tasks.new_task(future, call, options)
