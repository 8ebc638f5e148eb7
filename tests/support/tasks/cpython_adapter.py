"""CPython's own tests of ``concurrent.futures``, against ``NotebookExecutor``: run as a script, by ``test_cpython``.

Those tests make a ``ProcessPoolExecutor`` and look into it. Here they get :class:`NotebookPool`, which takes its
parameters and has those of its private names that a test reads. Nothing of the product is replaced.

Usage: ``cpython_adapter.py DIRECTORY GROUP``, with the directory that ``tools/cpython_tests.sh`` prints and one of
``GROUPS``; it writes one JSON object to its stdout: for each test "passed", "skipped: why" or what it raised.
"""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import contextlib
import gc
import importlib
import json
import multiprocessing
import os
import pkgutil
import signal
import sys
import threading
import traceback
import types
import unittest
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING, RUNNING
from typing import Any, ClassVar

import psutil
import zmq.utils.garbage

import scaler_notebook
from scaler_notebook import InitializerError, NotebookExecutor
from scaler_notebook.client.session.session import open_sessions
from scaler_notebook.client.waiting import callback_thread
from scaler_notebook.testing import DetachedFuture

PATIENCE = 10.0  # seconds


def until(condition: Callable[[], bool], what: str) -> None:
    """Look every hundredth of a second whether it holds."""
    pause = threading.Event()
    for _ in range(int(PATIENCE * 100)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError(f"it never came to this: {what}")


def engine_threads() -> list[threading.Thread]:
    """Those that end with their engine."""
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("scaler_notebook")]
    return [thread for thread in ours if thread.name != "scaler_notebook callbacks"]


class NotebookPool(NotebookExecutor):
    """``NotebookExecutor`` with the parameters of ``ProcessPoolExecutor``, and what the tests read of its insides."""

    alive: ClassVar[weakref.WeakSet[NotebookPool]] = weakref.WeakSet()

    def __init__(self, max_workers: int | None = None, mp_context: object = None, **options: Any) -> None:
        super().__init__(max_workers=max_workers, stream_output=False, **options)  # as the standard pool: in silence
        self.alive.add(self)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """A task's output is kept with its future; these tests look for it where the script writes."""
        future = super().submit(fn, *args, **kwargs)
        if PRINTS:
            future.add_done_callback(lambda done: print(done.logs.stdout, end="", flush=True))
        return future

    def wait_for_processes(self) -> None:
        """So that a task starts when it is submitted; else what is cancelled right after it has never started."""
        until(lambda: len(self._processes) == self.n_workers, "its processes start")

    @property
    def _max_workers(self) -> int:
        return self.n_workers

    @property
    def _broken(self) -> bool:
        return self._session is not None and self._session.lifetime.broken is not None

    @property
    def _processes(self) -> dict[int, Process]:
        """Without the spares."""
        status = self.engine_status(PATIENCE)
        assert status is not None
        return {pid: Process(pid) for pid in status.processes[: status.slots]}

    @property
    def _executor_manager_thread(self) -> Manager:
        return Manager(self._session)

    _queue_management_thread = _executor_manager_thread

    @property
    def _call_queue(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(join_thread=lambda: None)


PRINTS = False  # in a script of the tests'


class Process(psutil.Process):
    """As ``multiprocessing`` has it."""

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def join(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            self.wait(PATIENCE)


class Manager:
    """What ends with the engine."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def join(self) -> None:
        until(lambda: self._session not in open_sessions(), "the engine ends")


class HandMade(DetachedFuture):
    """A future that a test settles itself; its callbacks have been called when a method returns."""

    def __init__(self) -> None:
        super().__init__("f()")

    def set_result(self, result: Any) -> None:
        if self.done():
            super(DetachedFuture, self).set_result(result)
        self.finish(result)
        callback_thread.drain()

    def set_exception(self, exception: BaseException | None) -> None:
        if self.done() or exception is None:
            super(DetachedFuture, self).set_exception(exception)
        else:
            self.fail(exception)
        callback_thread.drain()

    def send_cancel(self, request: Any) -> None:
        super().send_cancel(request)
        self.confirm()

    def cancel(self, *args: Any, **kwargs: Any) -> bool:
        try:
            return super().cancel(*args, **kwargs)
        finally:
            callback_thread.drain()

    def add_done_callback(self, fn: Callable[..., object]) -> None:
        super().add_done_callback(fn)
        callback_thread.drain()


def hand_made(state: str = PENDING, exception: BaseException | None = None, result: Any = None) -> HandMade:
    """A future in one of the standard's states."""
    future = HandMade()
    if state == RUNNING:
        future.start()
    elif state in (CANCELLED, CANCELLED_AND_NOTIFIED):
        future.cancel()
    elif state == FINISHED:
        future.fail(exception) if exception is not None else future.finish(result)
    return future


# ---------------------------------------------------------------------- what the tests are given


def install(directory: str) -> None:
    """Have the standard's names mean ours, here or in a script that a test runs."""
    sys.path[:] = [directory, *(entry for entry in sys.path if entry != directory)]
    concurrent.futures.NotebookPool = NotebookPool  # type: ignore[attr-defined]  # scripts import it from there
    concurrent.futures.ProcessPoolExecutor = type("ProcessPoolExecutor", (NotebookPool,), {})  # type: ignore[misc, assignment]
    # That a process died is a BrokenExecutor here; there, the name says whose process it was.
    concurrent.futures.process.BrokenProcessPool = BrokenExecutor  # type: ignore[misc, assignment]


def in_script(directory: str) -> None:
    """:func:`install` for a script that a test runs."""
    global PRINTS
    PRINTS = True
    install(directory)


class Suite:
    """CPython's tests, as one of two layouts has them: one module until 3.11, a package since."""

    def __init__(self, directory: str) -> None:
        install(directory)
        whole = importlib.import_module("test.test_concurrent_futures")
        self.modules: list[Any] = [whole]
        for found in pkgutil.iter_modules(getattr(whole, "__path__", ())):
            if found.name != "__main__":
                self.modules.append(importlib.import_module(f"{whole.__name__}.{found.name}"))
        self._directory = directory
        for module in self.modules:
            if hasattr(module, "assert_python_ok"):
                module.assert_python_ok = self._wrapped(module.assert_python_ok)

    def _wrapped(self, assert_python_ok: Callable[..., Any]) -> Callable[..., Any]:
        ours = [os.path.dirname(__file__), os.path.dirname(os.path.dirname(scaler_notebook.__file__))]
        first = f"import sys; sys.path[:0] = {ours!r}; import cpython_adapter as a; a.in_script({self._directory!r})\n"
        first += "import multiprocessing\n"  # which one of the scripts lacks; for its own pools that test is skipped

        def wrapped(option: str, code: str, **environment: str) -> Any:
            return assert_python_ok(option, first + code, **environment)

        return wrapped

    def __getitem__(self, name: str) -> Any:
        for module in self.modules:
            if hasattr(module, name):
                return getattr(module, name)
        raise KeyError(name)

    def replace(self, name: str, value: object) -> None:
        """In every module that has it."""
        for module in self.modules:
            if hasattr(module, name):
                setattr(module, name, value)

    def mixin(self) -> type:
        """What gives a test its executor."""

        class Mixin(self["ExecutorMixin"]):  # type: ignore[misc, name-defined, valid-type]
            executor_type = NotebookPool
            ctx = "spawn"

            def setUp(self) -> None:
                super().setUp()
                self.executor.wait_for_processes()

        return Mixin

    def base(self) -> type:
        """What proves that a test leaves nothing behind."""

        class Base(self["BaseTestCase"]):  # type: ignore[misc, name-defined, valid-type]
            def tearDown(self) -> None:
                for pool in list(NotebookPool.alive):
                    pool.shutdown()  # one of a test that has failed
                until(lambda: not engine_threads(), "our threads end")
                gc.collect()  # a thread that has ended counts until it is collected
                super().tearDown()

        return Base

    def cases(self, *names: str) -> list[type[unittest.TestCase]]:
        """Their mixins of tests, with an executor of ours each."""
        bases = (self.mixin(), self.base())
        return [type(name, (self[name], *bases), {}) for name in names]


def executor(suite: Suite) -> list[type[unittest.TestCase]]:
    return suite.cases("ProcessPoolExecutorTest")


def shutdown(suite: Suite) -> list[type[unittest.TestCase]]:
    return suite.cases("ProcessPoolShutdownTest")


def waits(suite: Suite) -> list[type[unittest.TestCase]]:
    return suite.cases("WaitTests", "AsCompletedTests")


def own_waits(suite: Suite) -> list[type[unittest.TestCase]]:
    """The same with our ``wait`` and ``as_completed`` in place of the standard's, for its futures and for ours."""
    concurrent.futures.wait = scaler_notebook.wait
    concurrent.futures.as_completed = scaler_notebook.as_completed  # type: ignore[assignment]
    return waits(suite)


def crashes(suite: Suite) -> list[type[unittest.TestCase]]:
    return suite.cases("ExecutorDeadlockTest")


def initializer(suite: Suite) -> list[type[unittest.TestCase]]:
    """Their processes log what an initializer raised; ours bring it along."""

    class Failing(suite["FailingInitializerMixin"]):  # type: ignore[misc, name-defined, valid-type]
        executor_type = NotebookPool

        @contextlib.contextmanager
        def _assert_logged(self, words: str) -> Iterator[None]:
            yield
            error: BaseException | None = None
            try:
                self.executor.submit(abs, 1)
            except InitializerError as problem:
                error = problem
            if words not in "".join(traceback.format_exception(error)):
                self.fail(f"{words!r} is lost: {error!r}")

    succeeding = type("InitializerMixin", (suite["InitializerMixin"], suite.base()), {"executor_type": NotebookPool})
    return [succeeding, type("FailingInitializerMixin", (Failing, suite.base()), {})]


def future(suite: Suite) -> list[type[unittest.TestCase]]:
    suite["support"].SHORT_TIMEOUT = PATIENCE / 2  # one of them waits that long for what comes, or never comes
    suite.replace("Future", HandMade)
    suite.replace("create_future", hand_made)
    for name, state, exception, result in (
        ("PENDING_FUTURE", PENDING, None, None),
        ("RUNNING_FUTURE", RUNNING, None, None),
        ("CANCELLED_FUTURE", CANCELLED, None, None),
        ("CANCELLED_AND_NOTIFIED_FUTURE", CANCELLED_AND_NOTIFIED, None, None),
        ("EXCEPTION_FUTURE", FINISHED, OSError(), None),
        ("SUCCESSFUL_FUTURE", FINISHED, None, 42),
    ):
        suite.replace(name, hand_made(state, exception, result))
    return [suite["FutureTests"]]


GROUPS = {group.__name__: group for group in (executor, shutdown, waits, own_waits, crashes, initializer, future)}


# ---------------------------------------------------------------------- running them


class Results(unittest.TestResult):
    """What became of each test, by ``Class.test``; of several subtests the first that failed counts."""

    def __init__(self) -> None:
        super().__init__()
        self.of: dict[str, str] = {}
        self.support: Any = importlib.import_module("test.support")

    def _note(self, test: Any, text: str) -> None:
        self.of.setdefault(".".join(test.id().split(" ")[0].split(".")[-2:]), text)

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self.support.environment_altered = False

    def addSuccess(self, test: Any) -> None:
        left = "it left a thread or a process behind" if self.support.environment_altered else "passed"
        self._note(test, left)

    def addSkip(self, test: Any, reason: str) -> None:
        self._note(test, f"skipped: {reason}")

    def addFailure(self, test: Any, problem: Any) -> None:
        self._note(test, "".join(traceback.format_exception(*problem)))

    addError = addFailure  # type: ignore[assignment]

    def addSubTest(self, test: Any, subtest: Any, problem: Any) -> None:
        if problem is not None:
            self.addFailure(test, problem)


def main(directory: str, group: str) -> None:
    """Run one group."""
    said, sys.stdout = sys.stdout, sys.stderr
    suite = Suite(directory)
    callback_thread.start()  # one thread for the process, as pyzmq's: no test is the one that has left it behind
    zmq.utils.garbage.gc.start()
    results = Results()
    for case in GROUPS[group](suite):
        unittest.defaultTestLoader.loadTestsFromTestCase(case).run(results)
    print(json.dumps(results.of), file=said, flush=True)


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    # The tests' scripts, and task processes, find these classes by the module's name.
    importlib.import_module("cpython_adapter").main(*sys.argv[1:])
