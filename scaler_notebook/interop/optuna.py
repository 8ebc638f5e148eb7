"""The trials of an Optuna study as tasks, by *ask and tell*: each can be seen and stopped like anything else.

::

    from scaler_notebook.interop.optuna import optimize

    optimize(study, objective, n_trials=100)

The study is in this process, with any storage. In a task the objective has a :class:`TaskTrial`, whose questions go
over a socket to this process, and are answered by Optuna's own trial here.
"""

import contextlib
import os
import pickle
import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED
from functools import partial
from typing import Any

from scaler_notebook.client.executor import NotebookExecutor, latest
from scaler_notebook.client.futures.completion import wait
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.client.submission.checked_values import checked_count, checked_integer
from scaler_notebook.client.waiting.host import current_host

METHODS = ("suggest_float", "suggest_int", "suggest_categorical", "report", "should_prune", "set_user_attr")
ATTRIBUTES = ("number", "params", "distributions", "user_attrs", "datetime_start")
PATIENCE = 10.0  # seconds for a question that has begun to arrive
MAX_PARENT = 60  # bytes of the directory that the socket's is in: the path of a socket has some hundred


def optimize(
    study: Any,
    objective: Callable[[Any], Any],
    n_trials: int,
    executor: NotebookExecutor | None = None,
    n_jobs: int | None = None,
    catch: type[BaseException] | Iterable[type[BaseException]] = (),
    callbacks: Iterable[Callable[[Any, Any], object]] | None = None,
    **options: Any,
) -> None:
    """Do as ``study.optimize``, with trials that are tasks, on one board; return when all have ended.

    A trial whose reported value the study's pruner does not want is cancelled there and then, whether its objective
    asks ``should_prune()`` or not, and told as pruned. One that is cancelled by somebody else has failed. The stop
    button, and an error that is not in ``catch``, cancel what runs, which has failed then, and are raised here.

    Parameters
    ----------
    study
        The study.
    objective
        A function of a :class:`TaskTrial`, as Optuna has it of its trial; returns the value, or several.
    n_trials
        How many trials there are.
    executor
        Runs them. By default the notebook's newest one or, if there is none, a new one.
    n_jobs
        How many are tasks at the same time; by default, and for -1, as many as there are workers.
    catch
        Errors with which a trial fails, and others go on.
    callbacks
        Called here after each trial, with the study and the trial as it ended. What one raises ends the call;
        ``study.stop()`` is for Optuna's own loop.
    options
        Options of each task, as for :meth:`~scaler_notebook.NotebookExecutor.submit_verbose`, e.g. ``gpus``.

    Raises
    ------
    ValueError
        The engine's workers may be on other machines, where they cannot ask: give the study a storage that they reach,
        and have each task load it.
    Exception
        What an objective raises, unless it is in ``catch``.
    """
    from optuna.trial import TrialState  # a task's process, which has a TaskTrial of this module, does without

    executor = executor or latest() or NotebookExecutor()
    after_each = tuple(callbacks or ())
    caught = catch if isinstance(catch, type) else tuple(catch)
    workers = executor.n_workers
    if not workers:
        raise ValueError("trials ask this process, which workers of a cluster of OpenGRIS Scaler do not reach")
    most = workers if n_jobs in (None, -1) else checked_count("n_jobs", n_jobs)
    left = checked_integer("n_trials", n_trials)
    running: dict[ScalerFuture[Any], _AskedTrial] = {}
    show = current_host().open_board(f"optuna: {study.study_name}")
    with _Answers() as answers:
        try:
            while left > 0 or running:
                while left > 0 and len(running) < most:
                    left -= 1
                    trial = answers.add(study.ask())
                    remote = TaskTrial(answers.address, trial.number)
                    future = executor.submit_verbose(
                        objective, (remote,), **{"name": f"trial {trial.number}", **options}
                    )
                    running[future] = trial
                    trial.set_future(future)
                    show(future)
                wait(running, return_when=FIRST_COMPLETED)
                for future in [each for each in running if each.done()]:
                    trial = running.pop(future)
                    ended = _tell(study, trial, future, caught)
                    del answers.trials[trial.number]
                    for callback in after_each:
                        callback(study, ended)
        except BaseException:
            try:
                FutureGroup(running).cancel()
            finally:
                for trial in answers.trials.values():
                    study.tell(trial.own, state=TrialState.FAIL, skip_if_finished=True)
            raise


def _tell(study: Any, trial: "_AskedTrial", future: ScalerFuture[Any], catch: Any) -> Any:
    """Tell the study how a trial has ended; return the trial as the study has it now.

    Parameters
    ----------
    study
        The study.
    trial
        The trial.
    future
        Its task, which has ended.
    catch
        Errors that are not raised.
    """
    from optuna.exceptions import TrialPruned
    from optuna.trial import TrialState

    if future.cancelled():
        return study.tell(trial.own, state=TrialState.PRUNED if trial.is_pruned else TrialState.FAIL)
    error = future.exception()
    if error is None:
        return study.tell(trial.own, future.result())
    if isinstance(error, TrialPruned):
        return study.tell(trial.own, state=TrialState.PRUNED)
    ended = study.tell(trial.own, state=TrialState.FAIL)
    if not isinstance(error, catch):
        raise error
    return ended


class TaskTrial:
    """A trial as its objective has it in a task; what it is asked is answered where the study is.

    It has Optuna's methods ``suggest_float``, ``suggest_int``, ``suggest_categorical``, ``report``, ``should_prune``
    and ``set_user_attr``, and its attributes ``number``, ``params``, ``distributions``, ``user_attrs`` and
    ``datetime_start``.

    Parameters
    ----------
    address
        The socket of the process where the study is.
    number
        The number of the trial.
    """

    def __init__(self, address: str, number: int) -> None:
        self._address = address
        self._number = number

    def __getattr__(self, name: str) -> Any:
        if name in METHODS:
            return partial(self._ask, name)
        if name in ATTRIBUTES:
            return self._ask(name)
        raise AttributeError(f"a trial in a task has {', '.join((*METHODS, *ATTRIBUTES))}, and no {name}")

    def _ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Return what Optuna's trial returns; raise what it raises."""
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(self._address)
                # Not by a buffered file, whose close would send again what an interrupt has left, and raise its own.
                sock.sendall(pickle.dumps((self._number, name, args, kwargs)))
                with sock.makefile("rb") as file:
                    is_answer, answer = pickle.load(file)
        except (OSError, EOFError) as error:
            raise RuntimeError(f"trial {self._number} is over: its study does not answer any more") from error
        if is_answer:
            return answer
        raise answer


class _AskedTrial:
    """A trial that the study was asked for, and its task.

    Parameters
    ----------
    own
        Optuna's trial.
    """

    def __init__(self, own: Any) -> None:
        self.own = own
        self.number: int = own.number
        self.is_pruned = False
        self._future: ScalerFuture[Any] | None = None

    def set_future(self, future: ScalerFuture[Any]) -> None:
        """Note the task, which may have reported something already."""
        self._future = future
        self._cancel_if_pruned()

    def answer(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what the trial's method or attribute gives; on a thread of :class:`_Answers`.

        Parameters
        ----------
        name
            The name of a method or an attribute.
        args, kwargs
            The arguments, for a method.
        """
        if name in ATTRIBUTES:
            return getattr(self.own, name)
        given = getattr(self.own, name)(*args, **kwargs) if name in METHODS else None
        if name == "report" and self.own.should_prune():
            self.is_pruned = True
            self._cancel_if_pruned()
        return given

    def _cancel_if_pruned(self) -> None:
        if self.is_pruned and self._future is not None:
            self._future.request_cancel()


class _Answers(socketserver.ThreadingUnixStreamServer):
    """The answers to the questions of trials, each on a thread of its own, for as long as the ``with`` block lasts."""

    def __init__(self) -> None:
        self.trials: dict[int, _AskedTrial] = {}
        parent = tempfile.gettempdir()
        parent = parent if len(os.fsencode(parent)) <= MAX_PARENT else "/tmp"
        # It is of this user alone.
        self._directory = tempfile.TemporaryDirectory(prefix="scaler_notebook-optuna-", dir=parent)
        self.address = os.path.join(self._directory.name, "trials")
        super().__init__(self.address, _Question)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.05,), name="scaler_notebook optuna", daemon=True
        )

    def add(self, own: Any) -> _AskedTrial:
        """Answer for a trial of Optuna's from now on."""
        trial = self.trials[own.number] = _AskedTrial(own)
        return trial

    def __enter__(self) -> "_Answers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()
        self._directory.cleanup()


class _Question(socketserver.StreamRequestHandler):
    """A question of a trial."""

    timeout = PATIENCE
    server: _Answers

    def handle(self) -> None:
        """Answer it."""
        with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):  # its process was ended meanwhile
            number, name, args, kwargs = pickle.load(self.rfile)
            self.wfile.write(self._answer(number, name, args, kwargs))

    def _answer(self, number: int, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Return the pickled answer, or the pickled error.

        Parameters
        ----------
        number
            The number of the trial.
        name, args, kwargs
            As for :meth:`_AskedTrial.answer`.
        """
        try:
            trial = self.server.trials.get(number)
            if trial is None:
                raise RuntimeError(f"trial {number} is over")
            return pickle.dumps((True, trial.answer(name, args, kwargs)))
        except Exception as error:
            try:
                return pickle.dumps((False, error))
            except Exception:  # an error of the user's own, or of a storage, that cannot travel
                return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
