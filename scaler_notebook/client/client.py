"""``Client``: a drop-in for the client of OpenGRIS Scaler; like ``NotebookExecutor``, an ``EngineClient``."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from types import TracebackType
from typing import Any, TypeVar

from scaler_notebook.engines.base import Engine
from scaler_notebook.engines.resolve import engine_at
from scaler_notebook.protocol.errors import EngineTimeoutError
from scaler_notebook.quantities import is_truth_value
from scaler_notebook.wording import counted, with_article

from .engine_client import EngineClient
from .executor import NotebookExecutor, latest
from .futures.future import CANCEL_TIMEOUT, ScalerFuture
from .futures.group import FutureGroup
from .session import nested
from .submission.iterables import refuse_endless
from .submission.options import names_options
from .submission.serializer import DefaultSerializer, Serializer
from .submission.signatures import accepts, check_signature
from .task_state.cancel_policy import OnInterrupt
from .waiting.host import current_host

T = TypeVar("T")

SHUTDOWN_TIMEOUT = 30.0  # seconds that an engine gets to end
OLD_OPTION = "profiling"  # an option of submit in older versions of Scaler


class Client(EngineClient):
    """A client of an engine, which cancels what is pending when it leaves.

    Where OpenGRIS Scaler's client and the standard library's executors differ, this one does as Scaler's: ``map`` waits
    and returns a list, leaving ``with`` disconnects, ``shutdown()`` ends the engine. ``docs/compatibility.md`` has
    every name and every difference.

    Parameters
    ----------
    address
        Of a :class:`~scaler_notebook.LocalCluster` or of another executor of this user on this machine, or
        ``scaler://host:port`` of a cluster of OpenGRIS Scaler. None: within a task the engine that runs the task, in a
        notebook the one that the notebook uses already, or a new one.
    profiling
        Accepted for compatibility: every future has its ``profiling_info()``.
    timeout_seconds, heartbeat_interval_seconds
        After how many seconds without an answer the engine counts as lost, and how many seconds apart it is asked for
        one. The death of an engine on this machine is seen at once in any case.
    serializer
        For functions, arguments and results; :class:`~.submission.serializer.DefaultSerializer` unless told otherwise.
    stream_output
        Print what tasks write here too, as it comes.
    object_storage_address
        Of a cluster, as OpenGRIS writes it (``tcp://host:port``), where the one that its scheduler tells is of no use
        from here.
    security_config
        Accepted for compatibility: no client needs credentials.
    grace, on_interrupt
        As :class:`~scaler_notebook.NotebookExecutor` has them.

    Raises
    ------
    ValueError
        There is no address, and this is neither a task nor a notebook; or the address is none of an engine.
    EngineStartError
        Nobody answers there. (A ``ConnectionError``.)
    """

    _lost_error = EngineTimeoutError

    @names_options
    def __init__(
        self,
        address: str | None = None,
        profiling: bool = False,
        timeout_seconds: float = 60,
        heartbeat_interval_seconds: float = 1,
        serializer: Serializer | None = None,
        stream_output: bool = False,
        object_storage_address: str | None = None,
        security_config: Any = None,
        *,
        grace: float | None = None,
        on_interrupt: OnInterrupt | None = None,
    ) -> None:
        _check_seconds("timeout_seconds", timeout_seconds)
        _check_seconds("heartbeat_interval_seconds", heartbeat_interval_seconds)
        if serializer is not None and not callable(getattr(serializer, "deserialize", None)):
            raise TypeError(f"serializer is a Serializer, not {with_article(type(serializer).__name__)}")
        own = None if isinstance(serializer, DefaultSerializer) else serializer
        super().__init__(grace, on_interrupt, serializer=own, stream_output=stream_output)
        # The executor whose engine this client uses. Held, so that one of Client()'s making ends with the last client.
        self._host: NotebookExecutor | None = None
        self._made_host = False
        self._address = address if address is not None else self._found()
        self._settings = (profiling, timeout_seconds, heartbeat_interval_seconds, serializer, stream_output)
        self._cluster = heartbeat_interval_seconds, timeout_seconds, object_storage_address
        self._new_engine()  # raises for an address that is none
        self.start()

    def _found(self) -> str:
        """Return the address of the engine to use where none is given."""
        address = nested.engine_address()
        if address:
            return address
        self._host = latest()
        if self._host is None and current_host().waits_at_exit:
            raise ValueError(
                "No scheduler address provided, and not running inside a worker context or a notebook: give the "
                "address of a LocalCluster, Client(cluster.get_address())"
            )
        if self._host is None:
            self._host, self._made_host = NotebookExecutor(), True
        return self._host.address

    def _new_engine(self) -> Engine:
        return engine_at(self._address, *self._cluster)

    @property
    def capabilities(self) -> dict[str, int] | None:
        """The amounts of what tasks may need, by name; None if the engine does not tell."""
        return self._running_session().capabilities

    @property
    def identity(self) -> str:
        """The name that the ids of this client's tasks begin with; no other client has the same."""
        return self._running_session().client

    # ------------------------------------------------------------------ tasks

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> ScalerFuture[T]:
        """Run ``fn(*args, **kwargs)`` on a worker process; return the future at once.

        ``profiling``, an option of older versions of Scaler, is ignored with a warning, unless the function takes it.

        Parameters
        ----------
        fn
            What is called.
        args, kwargs
            Its positional arguments, and the others by name.

        Raises
        ------
        TypeError
            The arguments do not fit the function's signature; nothing was sent.
        DisconnectedError
            The client is disconnected. (A ``ConnectionError``.)
        Exception
            As :meth:`NotebookExecutor.submit`.
        """
        if OLD_OPTION in kwargs and not accepts(fn, OLD_OPTION):
            del kwargs[OLD_OPTION]
            words = f"submit() ignores {OLD_OPTION}: every future has its profiling_info(), without asking for it"
            warnings.warn(words, stacklevel=2)
        return self.submit_verbose(fn, args, kwargs)

    def submit_verbose(
        self,
        fn: Callable[..., T],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        capabilities: Mapping[str, int] | None = None,
        reserialize: bool = False,
        **options: Any,
    ) -> ScalerFuture[T]:
        """Do as :meth:`submit`, with options; those beyond Scaler's are :meth:`NotebookExecutor.submit_verbose`'s.

        Parameters
        ----------
        fn
            What is called.
        args, kwargs
            A tuple (or list) of the positional arguments, and a dictionary of the others.
        capabilities, options
            As for :meth:`NotebookExecutor.submit_verbose`.
        reserialize
            Accepted for compatibility: a changed argument is never served stale.
        """
        check_signature(fn, tuple(args), dict(kwargs or {}))
        return super().submit_verbose(fn, args, kwargs, capabilities=capabilities, **options)

    def _check_options(self, options: Mapping[str, Any]) -> None:
        """Raise what is wrong with options of calls, of which Scaler has one more."""
        __tracebackhide__ = True
        super()._check_options({name: value for name, value in options.items() if name != "reserialize"})

    @names_options
    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        capabilities: Mapping[str, int] | None = None,
        reserialize: bool = False,
    ) -> list[T]:
        """Call ``fn`` with an item of each iterable, as often as the shortest has items; wait, and return a list.

        Parameters
        ----------
        fn
            What is called.
        iterables
            The arguments of the calls.
        capabilities
            Of every call, as for :meth:`submit_verbose`.
        reserialize
            Accepted for compatibility: a changed argument is never served stale.

        Raises
        ------
        TypeError
            There is no iterable.
        Exception
            What the first failed call raised; the others are cancelled then.
        """
        if not iterables:
            raise TypeError("map needs at least one iterable")
        refuse_endless(fn, iterables)
        return self.starmap(fn, zip(*iterables, strict=False), capabilities)

    @names_options
    def starmap(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        capabilities: Mapping[str, int] | None = None,
        reserialize: bool = False,
    ) -> list[T]:
        """Do as :meth:`map` of one iterable whose items are the arguments of each call.

        Parameters
        ----------
        fn, capabilities, reserialize
            As for :meth:`map`.
        iterable
            The tuples of arguments.
        """
        __tracebackhide__ = True
        calls = [tuple(args) for args in iterable]
        group = FutureGroup([self.submit_verbose(fn, args, {}, capabilities) for args in calls])
        try:
            return group.results()
        except KeyboardInterrupt:
            raise  # the stop button: the policy decides what becomes of the tasks
        except BaseException:
            group.request_cancel()
            raise

    # ------------------------------------------------------------------ its end

    def shutdown(self, timeout: float = SHUTDOWN_TIMEOUT) -> None:
        """End the engine with everything that it runs, for all of its clients, and disconnect.

        Parameters
        ----------
        timeout
            Seconds that the engine gets to end.

        Raises
        ------
        ValueError
            The engine is protected: a cluster that was told so, or the engine of an executor, which ends with that.
            This client is disconnected all the same.
        TimeoutError
            The engine has not ended within ``timeout`` seconds.
        """
        session, host = self._session, self._host
        try:
            if session is not None and session.alive and not self._made_host:
                FutureGroup(self.unfinished()).request_cancel()
                session.requests.shutdown(timeout)
        finally:
            self.disconnect(timeout)
        if host is not None and self._made_host:
            host.disconnect(timeout)

    def disconnect(self, timeout: float | None = CANCEL_TIMEOUT) -> None:
        """Cancel what is unfinished and leave the engine, which goes on. Idempotent.

        An engine that ``Client()`` has started ends when no client uses it any more. The parameter is that of
        :meth:`ScalerFuture.cancel`.
        """
        super().disconnect(timeout)
        self._host = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()

    def __reduce__(self) -> Any:
        return _connected, (self._address, *self._settings)

    def __repr__(self) -> str:
        state = "disconnected" if self.is_shut_down else counted(len(self.unfinished()), "unfinished task")
        return f"<Client at {self._address}, {state}>"


def _connected(address: str, *settings: Any) -> Client:
    return Client(address, *settings)


def _check_seconds(name: str, value: object) -> None:
    if is_truth_value(value) or not isinstance(value, Real) or not float(value) > 0:
        raise ValueError(f"{name} is a positive number of seconds, not {value!r:.60}")
