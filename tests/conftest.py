"""Fixtures that all tests share, the proof that nothing outlives a test, and how long properties are tried."""

from __future__ import annotations

import faulthandler
import gc
import importlib
import importlib.util
import os
import secrets
import shutil
import signal
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import hypothesis
import pytest
from ipython_profile import make_profile
from leaks import MARKER, Watch
from shared_executor import GRACE, SharedExecutor

from scaler_notebook import NotebookExecutor
from scaler_notebook.client.waiting.host import PlainHost

if TYPE_CHECKING:
    from kernels import Kernel
    from shared_kernels import SharedKernel, SharedKernels

# Each worker of pytest-xdist is a run of its own: with its own mark on all that it starts, and its own engines.
os.environ[MARKER] = secrets.token_hex(8)
RUNTIME = tempfile.mkdtemp(prefix="sn-", dir="/tmp")  # short: sockets lie in it
os.environ["XDG_RUNTIME_DIR"] = RUNTIME
os.environ["IPYTHONDIR"] = str(Path(RUNTIME) / "ipython")
make_profile(Path(os.environ["IPYTHONDIR"]))

STACKS = pytest.StashKey[int]()  # a descriptor of stderr that no test's capture has replaced
ENDS = 120.0  # seconds that a run may take to end, once its last test has

PlainHost.prints_output = False  # what tasks write is looked at where it is kept

hypothesis.settings.register_profile("quick", max_examples=60, stateful_step_count=40, deadline=None, print_blob=True)
hypothesis.settings.register_profile("long", hypothesis.settings.get_profile("quick"), max_examples=1000)


WORKERS = {"executor_of_one": 1, "executor_of_two": 2}  # of the shared executors, by the fixtures that give them


@pytest.fixture(scope="session")
def shared_executors() -> Iterator[dict[str, SharedExecutor]]:
    """The executors that the tests of this worker share, by the names of their fixtures."""
    shared = {name: SharedExecutor(workers) for name, workers in WORKERS.items()}
    yield shared
    for each in shared.values():
        each.end()


@pytest.fixture
def shared_processes(shared_executors: dict[str, SharedExecutor]) -> Callable[[], set[int]]:
    """Gives the ids of the processes of the shared executors."""
    return lambda: set[int]().union(*(each.processes() for each in shared_executors.values()))


@pytest.fixture(autouse=True)
def nothing_leaks(
    request: pytest.FixtureRequest,
    shared_executors: dict[str, SharedExecutor],
    shared_processes: Callable[[], set[int]],
) -> Iterator[None]:
    """No process, thread, socket, memory file or directory outlives its test."""
    for name, each in shared_executors.items():
        if name in request.fixturenames:
            each.running()
    # JupyterLab and the browser end with the last test that needs them.
    shared = {"processes", "files"} if "lab_server" in request.fixturenames else set()
    watch = Watch(frozenset(shared), shared_processes)
    yield
    if left := watch.left():
        pytest.fail(f"left behind: {left}")


@pytest.fixture
def executor_of_two(shared_executors: dict[str, SharedExecutor]) -> Iterator[NotebookExecutor]:
    """A running executor with two workers on the real engine, and a short grace period; its processes have a past."""
    with shared_executors["executor_of_two"].lent() as lent:
        yield lent


@pytest.fixture
def executor_of_one(shared_executors: dict[str, SharedExecutor]) -> Iterator[NotebookExecutor]:
    """The same with one worker: tasks that end well run in one process, one after the other."""
    with shared_executors["executor_of_one"].lent() as lent:
        yield lent


@pytest.fixture
def executor(executor_of_two: NotebookExecutor) -> NotebookExecutor:
    """The executor of a test that says nothing of workers; some modules have another of this name."""
    return executor_of_two


@pytest.fixture
def no_shared_executor(shared_executors: dict[str, SharedExecutor]) -> None:
    """For a test, by ``usefixtures``, that would find the engines of the shared executors: they are ended before."""
    for each in shared_executors.values():
        each.end()


@pytest.fixture
def new_executor() -> Iterator[NotebookExecutor]:
    """An executor of two workers with an engine of its own, which starts with the first task."""
    with NotebookExecutor(n_workers=2, grace=GRACE) as ex:
        yield ex
        ex.cancel_all()


@pytest.fixture(scope="session")
def jupyter_client_is_warm() -> None:
    """Its event loop in this process stays for all kernels that are started here."""
    from jupyter_core.utils import ensure_event_loop

    ensure_event_loop()


@pytest.fixture
def own_kernel(jupyter_client_is_warm: None) -> Iterator[Kernel]:
    """A kernel that has just started, and runs nothing but this test."""
    from kernels import kernel

    with kernel() as started:
        yield started


@pytest.fixture(scope="session")
def shared_kernels(jupyter_client_is_warm: None) -> Iterator[SharedKernels]:
    """Kernels that tests of this process share."""
    from shared_kernels import SharedKernels

    kernels = SharedKernels()
    yield kernels
    kernels.close()


@pytest.fixture(scope="module")
def kernel_version() -> str:
    """Of the kernel that a module's tests share; a module of several versions has a fixture of this name."""
    return "installed"


@pytest.fixture(scope="module")
def shared_kernel(kernel_version: str, shared_kernels: SharedKernels) -> SharedKernel:
    """One that runs when a test begins, and is put back after each."""
    return shared_kernels.of(kernel_version)


@pytest.fixture
def install() -> Iterator[Callable[[str], str]]:
    """Installs a module with this source, as a package installer would; gives its name. It is gone after the test."""
    files: list[Path] = []

    def install(source: str) -> str:
        file = Path(sysconfig.get_path("purelib")) / f"installed_{os.getpid()}_{len(files)}.py"
        files.append(file)
        file.write_text(source)
        importlib.invalidate_caches()
        return file.stem

    yield install
    for file in files:
        file.unlink()
        Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """What shares a browser, a kernel or a cluster is run by one worker; everything else by whoever is free."""
    from xdist_groups import GroupScheduling

    return GroupScheduling(config, log)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have functions of tests travel as those of a notebook do; leave what all tests need out of garbage collections.

    Else each task process imports their modules, with pytest and numpy, and so does each that takes its place.
    """
    for module in {item.module for item in session.items if isinstance(item, pytest.Function)}:
        cloudpickle.register_pickle_by_value(module)
    gc.collect()  # each of the later ones took a sixth of a second
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """Keep stderr for the stacks of a process that had to be ended; have signals that ``&`` and ``nohup`` ignore."""
    config.stash[STACKS] = os.dup(2)
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, default)


def end_in_time(config: pytest.Config) -> None:
    """End this process, with the stacks of its threads, if it is not called off before a test's time is over twice.

    pytest-timeout raises in the main thread, and once: neither ends a test that catches what is raised, nor a fixture
    that then waits for ever.
    """
    limit = 2 * float(config.getoption("timeout") or config.getini("timeout"))
    faulthandler.dump_traceback_later(limit, exit=True, file=config.stash[STACKS])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """See :func:`end_in_time`."""
    end_in_time(item.config)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """Begin again: pytest's own plugin has just called it off, and the fixtures of what has failed are still to end."""
    if isinstance(node, pytest.Item):
        end_in_time(node.config)


def end_what_is_shared() -> None:
    """Stop what the tests of this process have started for all of them, without a fixture that would stop it."""
    if scaler_cluster := sys.modules.get("scaler_cluster"):
        scaler_cluster.stop_shared()
    shutil.rmtree(RUNTIME, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A skipped test is a failed one, unless the table of what is not tested in docs/limits.md names it."""
    faulthandler.dump_traceback_later(ENDS, exit=True, file=session.config.stash[STACKS])
    try:
        end_what_is_shared()
    finally:
        faulthandler.cancel_dump_traceback_later()
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    excused = (Path(__file__).parents[1] / "docs" / "limits.md").read_text()
    unexplained = [report.nodeid for report in skipped if report.nodeid.split("::")[-1].split("[")[0] not in excused]
    if unexplained and session.exitstatus == 0:
        session.exitstatus = 1
        reporter.write_line(f"skipped without a reason in docs/limits.md: {', '.join(unexplained)}", red=True)
