"""What a task leaves in its process does not meet the next, innocent one."""

from __future__ import annotations

import builtins
import copyreg
import decimal
import gc
import locale
import logging
import os
import pickle
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from waits import SAFETY, until_written

from scaler_notebook import NotebookExecutor
from scaler_notebook.task.isolation import orphans, process_state
from scaler_notebook.task.isolation.left_running import LeftoverDetector

LONG = 60.0  # seconds; nothing here waits for it


@pytest.fixture
def alone() -> Iterator[NotebookExecutor]:
    """An executor whose tasks run in one process, as long as that is not replaced."""
    with NotebookExecutor(n_workers=1, grace=0.5) as ex:
        yield ex


def nothing(*_: Any) -> None:
    pass


def set_mask() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGALRM})
    signal.raise_signal(signal.SIGTERM)  # which is pending then


def set_filters() -> None:
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", category=UserWarning)


def set_path() -> None:
    sys.path.insert(0, "/nowhere")
    sys.path.append("/nowhere/else")


def replace_path() -> None:
    sys.path = ["/nowhere"]


def set_environment() -> None:
    os.environ["LEFT_BEHIND"] = "1"
    os.environ.pop("HOME", None)


def replace_environment() -> None:
    os.environ = {"LEFT_BEHIND": "1"}  # type: ignore[assignment]  # noqa: B003


def set_decimal() -> None:
    decimal.getcontext().prec = 3
    decimal.getcontext().traps[decimal.Inexact] = True


def set_gc() -> None:
    gc.disable()
    gc.set_threshold(7, 7, 7)


def set_limits() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def set_event_loop() -> None:
    import asyncio

    asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())


def log_to_a_handler() -> None:
    logging.basicConfig(level=logging.DEBUG)
    logging.getLogger("left_behind").addHandler(logging.StreamHandler())
    logging.disable(logging.CRITICAL)


def log_handlers() -> Any:
    root = logging.root
    return root.level, root.handlers, logging.getLogger("left_behind").handlers, root.manager.disable


def event_loop_policy() -> Any:
    import asyncio

    return repr(asyncio.events._event_loop_policy)  # type: ignore[attr-defined]


def set_time_zone() -> None:
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()


def umask() -> int:
    mask = os.umask(0o22)
    os.umask(mask)
    return mask


def set_finders() -> None:
    sys.meta_path.append(object())  # type: ignore[arg-type]
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()


def replace_finders() -> None:
    sys.meta_path = []


def set_log_classes() -> None:
    logging.setLogRecordFactory(logging.makeLogRecord)
    logging.raiseExceptions = False


def set_async_hooks() -> None:
    sys.set_asyncgen_hooks(nothing, nothing)
    sys.set_coroutine_origin_tracking_depth(3)


def async_hooks() -> Any:
    return sys.get_asyncgen_hooks(), sys.get_coroutine_origin_tracking_depth()


def replace_late_module() -> None:
    sys.modules["colorsys"] = None  # type: ignore[assignment]


def late_module() -> bool:
    import colorsys

    return hasattr(colorsys, "rgb_to_hsv")


def a_pipe() -> int:
    _, writes = os.pipe()
    os.set_blocking(writes, False)
    return writes


ALARM, UMASK = signal.alarm, os.umask  # as ``from signal import alarm`` has it


SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "alarm": (lambda: signal.alarm(600), lambda: signal.getitimer(signal.ITIMER_REAL)),
    "alarm by another name": (lambda: ALARM(600), lambda: signal.getitimer(signal.ITIMER_REAL)),
    "umask by another name": (lambda: UMASK(0o777), umask),
    "wakeup": (lambda: signal.set_wakeup_fd(a_pipe()), lambda: signal.set_wakeup_fd(-1)),
    "stack size": (lambda: threading.stack_size(1 << 20), threading.stack_size),
    "timer": (lambda: signal.setitimer(signal.ITIMER_PROF, 600), lambda: signal.getitimer(signal.ITIMER_PROF)),
    "handler": (lambda: signal.signal(signal.SIGUSR1, nothing), lambda: signal.getsignal(signal.SIGUSR1)),
    "mask": (set_mask, lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "environment": (set_environment, lambda: sorted(os.environ.items())),
    "environment replaced": (replace_environment, lambda: (type(os.environ).__name__, sorted(os.environ))),
    "environment in C": (set_environment, lambda: sorted(subprocess.check_output(["env"]).split(b"\n"))),
    "time zone": (set_time_zone, lambda: time.localtime(0)),
    "path": (set_path, lambda: sys.path),
    "path replaced": (replace_path, lambda: sys.path),
    "finders": (set_finders, lambda: (sys.meta_path, sys.path_hooks, __import__("colorsys").__name__)),
    "finders replaced": (replace_finders, lambda: sys.meta_path),
    "reducers": (lambda: copyreg.pickle(complex, lambda _: (complex, (0,))), lambda: pickle.loads(pickle.dumps(1j))),
    "traceback limit": (lambda: setattr(sys, "tracebacklimit", 0), lambda: getattr(sys, "tracebacklimit", None)),
    "log classes": (set_log_classes, lambda: (logging.getLogRecordFactory(), logging.raiseExceptions)),
    "formatwarning": (lambda: setattr(warnings, "formatwarning", nothing), lambda: warnings.formatwarning.__name__),
    "asynchronous hooks": (set_async_hooks, async_hooks),
    "arguments": (lambda: sys.argv.append("left"), lambda: sys.argv),
    "filters": (set_filters, lambda: warnings.filters),
    "showwarning": (lambda: setattr(warnings, "showwarning", nothing), lambda: warnings.showwarning.__name__),
    "decimal": (set_decimal, lambda: decimal.getcontext()),
    "recursion limit": (lambda: sys.setrecursionlimit(333), sys.getrecursionlimit),
    "umask": (lambda: os.umask(0o777), umask),
    "limits": (set_limits, lambda: [resource.getrlimit(each) for each in (resource.RLIMIT_NOFILE, 4)]),
    "trace": (lambda: sys.settrace(nothing), sys.gettrace),
    "profile": (lambda: sys.setprofile(nothing), sys.getprofile),
    "trace of threads": (lambda: threading.settrace(nothing), threading.gettrace),
    "profile of threads": (lambda: threading.setprofile(nothing), threading.getprofile),
    "gc": (set_gc, lambda: (gc.isenabled(), gc.get_threshold())),
    "excepthook": (lambda: setattr(sys, "excepthook", nothing), lambda: repr(sys.excepthook)),
    "displayhook": (lambda: setattr(sys, "displayhook", nothing), lambda: repr(sys.displayhook)),
    "stdin": (lambda: setattr(sys, "stdin", None), lambda: sys.stdin is None),
    "locale": (lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8"), lambda: locale.setlocale(locale.LC_ALL)),
    "socket timeout": (lambda: socket.setdefaulttimeout(1), socket.getdefaulttimeout),
    "event loop policy": (set_event_loop, event_loop_policy),
    "logging": (log_to_a_handler, log_handlers),
    "builtin": (lambda: setattr(builtins, "sum", nothing), lambda: sum([1, 2])),
    "new builtin": (lambda: setattr(builtins, "left", 1), lambda: hasattr(builtins, "left")),
    "deleted builtin": (lambda: delattr(builtins, "sorted"), lambda: hasattr(builtins, "sorted")),
    "temporary directory": (lambda: setattr(tempfile, "tempdir", "/nowhere"), tempfile.gettempdir),
    "thread's name": (lambda: setattr(threading.main_thread(), "name", "left"), lambda: threading.main_thread().name),
    "module that was imported later": (replace_late_module, late_module),
    "cores": (lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}), lambda: os.sched_getaffinity(0)),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_put_back_in_the_same_process(executor_of_one: NotebookExecutor, name: str) -> None:
    change, read = SETTINGS[name]
    looked = executor_of_one.submit(lambda: (os.getpid(), repr(read()))).result(SAFETY)
    executor_of_one.submit(lambda: (change(), None)[1]).result(SAFETY)
    assert executor_of_one.submit(lambda: (os.getpid(), repr(read()))).result(SAFETY) == looked


@pytest.mark.parametrize("name", ["arguments", "handler", "umask", "mask", "timer", "filters", "path", "logging"])
def test_a_setting_is_put_back_each_time(executor_of_one: NotebookExecutor, name: str) -> None:
    change, read = SETTINGS[name]
    looked = executor_of_one.submit(lambda: (os.getpid(), repr(read()))).result(SAFETY)
    for _ in range(3):
        executor_of_one.submit(lambda: (change(), None)[1]).result(SAFETY)
        assert executor_of_one.submit(lambda: (os.getpid(), repr(read()))).result(SAFETY) == looked


def test_after_a_task_that_changes_nothing_nothing_is_put_back(executor_of_one: NotebookExecutor) -> None:
    """Else each task takes ten times as long as it need."""

    def differing() -> list[str]:
        state: Any = process_state._current
        now = [(read(), (each.look or read)()) for each, read in zip(state._settings, state._reads, strict=True)]
        return [
            each.name
            for each, values, wanted in zip(state._settings, now, state._wanted, strict=True)
            if values != (wanted, wanted)
        ]

    def imports() -> None:
        import csv, decimal, logging.config, matplotlib.pyplot, pandas, urllib.request  # noqa: E401, F401, I001

    for task in (differing, imports, differing, differing):
        assert not executor_of_one.submit(task).result(SAFETY)


def change_much() -> None:
    signal.setitimer(signal.ITIMER_PROF, 600)
    signal.signal(signal.SIGUSR1, nothing)
    os.umask(0o777)


def test_settings_that_are_compared_together_are_put_back_together(executor_of_one: NotebookExecutor) -> None:
    def look() -> Any:
        return os.getpid(), signal.getitimer(signal.ITIMER_PROF), repr(signal.getsignal(signal.SIGUSR1)), umask()

    looked = executor_of_one.submit(look).result(SAFETY)
    for _ in range(2):
        executor_of_one.submit(change_much).result(SAFETY)
        assert executor_of_one.submit(look).result(SAFETY) == looked


def test_a_task_that_blocks_sigint_leaves_the_next_one_to_be_cancelled(alone: NotebookExecutor) -> None:
    alone.submit(lambda: (signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}), None)[1]).result(SAFETY)

    def runs() -> None:
        print("runs")
        time.sleep(LONG)

    future = alone.submit(runs)
    until_written(future, "runs")
    assert future.cancel(SAFETY, force=False)


def test_an_alarm_that_is_due_soon_kills_nobody(executor_of_one: NotebookExecutor) -> None:
    def left(seconds: float) -> int:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        return os.getpid()

    pid = executor_of_one.submit(left, 0.05).result(SAFETY)
    executor_of_one.submit(time.sleep, 0.1).result(SAFETY)
    assert executor_of_one.submit(os.getpid).result(SAFETY) == pid


def write_and_close() -> None:
    sys.stdout.write("of the first")
    os.close(1)


CLOSINGS: dict[str, Callable[[], object]] = {
    "closed": lambda: os.close(1),
    "both closed": lambda: os.closerange(1, 3),
    "to nothing": lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 1),
    "one to the other": lambda: os.dup2(2, 1),
    "stream closed": lambda: sys.stdout.close(),
    "stream configured": lambda: sys.stdout.reconfigure(encoding="utf-16"),  # type: ignore[union-attr]
    "stream patched": lambda: setattr(sys.stdout, "write", nothing),
    "stream replaced": lambda: setattr(sys, "stdout", sys.stderr),
    "written before it was closed": write_and_close,
}


@pytest.mark.parametrize("name", CLOSINGS)
def test_the_next_tasks_output_comes_whatever_was_closed(executor_of_one: NotebookExecutor, name: str) -> None:
    close = CLOSINGS[name]
    executor_of_one.submit(lambda: (close(), None)[1]).exception(SAFETY)

    def write() -> None:
        print("out")
        print("err", file=sys.stderr)
        os.write(1, b"raw\n")
        subprocess.run(["echo", "child"], check=True)

    future = executor_of_one.submit(write)
    future.result(SAFETY)
    assert (future.logs.stdout, future.logs.stderr) == ("out\nraw\nchild\n", "err\n")


def test_a_seed_does_not_leak_into_the_next_task(executor_of_one: NotebookExecutor) -> None:
    def seeded() -> float:
        random.seed(1)
        return random.random()

    assert executor_of_one.submit(seeded).result(SAFETY) == executor_of_one.submit(seeded).result(SAFETY)
    random.seed(1)
    second = (random.random(), random.random())[1]
    assert executor_of_one.submit(lambda: random.random()).result(SAFETY) != second


def test_a_seed_of_numpys_does_not_leak_either(executor_of_one: NotebookExecutor) -> None:
    np = pytest.importorskip("numpy")

    def seeded() -> float:
        np.random.seed(1)
        return float(np.random.random())

    executor_of_one.submit(lambda: float(np.random.random())).result(SAFETY)
    assert executor_of_one.submit(seeded).result(SAFETY) == executor_of_one.submit(seeded).result(SAFETY)
    second = np.random.RandomState(1).random(2)[1]
    assert executor_of_one.submit(lambda: float(np.random.random())).result(SAFETY) != second


def test_settings_of_numpy_and_pandas_and_matplotlib_are_put_back(executor_of_one: NotebookExecutor) -> None:
    np, pd = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    matplotlib = pytest.importorskip("matplotlib")

    def look() -> Any:
        import matplotlib.pyplot as plt

        shown = pd.get_option("display.max_rows"), matplotlib.rcParams["lines.linewidth"], plt.get_fignums()
        return os.getpid(), np.geterr(), np.get_printoptions(), *shown, matplotlib.get_backend()

    def change() -> None:
        import matplotlib.pyplot as plt

        np.seterr(all="raise")
        np.set_printoptions(precision=2)
        pd.set_option("display.max_rows", 3)
        pd.options.display.width = 7
        matplotlib.rcParams["lines.linewidth"] = 9.0
        matplotlib.use("svg")
        plt.figure()

    looked = executor_of_one.submit(look).result(30)
    executor_of_one.submit(change).result(SAFETY)
    assert executor_of_one.submit(look).result(SAFETY) == looked


# ---------------------------------------------------------------------- what stays


def test_what_an_import_changes_stays(executor_of_one: NotebookExecutor, tmp_path: Any) -> None:
    (tmp_path / "configuring_module.py").write_text(
        "import os, sys, warnings, decimal\nos.environ['CONFIGURED'] = '1'\nsys.path.append('/configured')\n"
        "sys.setrecursionlimit(4321)\nwarnings.filterwarnings('ignore', message='configured')\n"
        "decimal.getcontext().prec = 17\n"
    )

    def imports() -> Any:
        sys.path.append(str(tmp_path))
        os.environ["LEFT_BEHIND"] = "1"
        import configuring_module  # type: ignore[import-not-found]  # noqa: F401

        return os.getpid()

    def look() -> Any:
        filters = [each for each in warnings.filters if "configured" in str(each)]
        paths = "/configured" in sys.path, str(tmp_path) in sys.path
        variables = os.environ.get("CONFIGURED"), os.environ.get("LEFT_BEHIND")
        return os.getpid(), *variables, *paths, sys.getrecursionlimit(), len(filters), decimal.getcontext().prec

    pid = executor_of_one.submit(imports).result(SAFETY)
    expected = pid, "1", None, True, False, 4321, 1, 17
    assert executor_of_one.submit(look).result(SAFETY) == expected
    os.environ["MOVED"] = "1"
    try:
        assert executor_of_one.submit(look).result(SAFETY)[:5] == expected[:5]
    finally:
        del os.environ["MOVED"]
        executor_of_one.submit(os._exit, 0).exception(SAFETY)  # the others shall not have it


def test_what_an_initializer_changes_stays() -> None:
    def prepare() -> None:
        random.seed(5)
        os.environ["PREPARED"] = "1"
        sys.setrecursionlimit(5432)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        import decimal

        decimal.getcontext().prec = 11
        threading.Thread(target=time.sleep, args=(LONG,), daemon=True, name="of the initializer").start()

    def look() -> Any:
        handler = signal.getsignal(signal.SIGUSR2)
        names = [thread.name for thread in threading.enumerate()]
        found = os.environ.get("PREPARED"), sys.getrecursionlimit(), handler, decimal.getcontext().prec
        return os.getpid(), *found, "of the initializer" in names

    with NotebookExecutor(n_workers=1, initializer=prepare) as ex:
        first = ex.submit(look).result(SAFETY)
        assert first[1:] == ("1", 5432, signal.SIG_IGN, 11, True)
        os.environ["MOVED"] = "1"
        try:
            assert ex.submit(look).result(SAFETY) == first
        finally:
            del os.environ["MOVED"]


# ---------------------------------------------------------------------- what cannot be put back


def leave_thread() -> None:
    threading.Thread(target=lambda: time.sleep(LONG), name="the late one", daemon=True).start()


def leave_timer() -> None:
    threading.Timer(LONG, print, ["late"]).start()


def leave_loop() -> None:
    import asyncio

    loop = asyncio.new_event_loop()
    loop.call_later(LONG, print, "late")
    threading.Thread(target=loop.run_forever, daemon=True).start()


def leave_sleeper() -> None:
    threading.Thread(target=time.sleep, args=(LONG,), daemon=True).start()


def leave_pool() -> None:
    from concurrent.futures import ThreadPoolExecutor

    ThreadPoolExecutor(1).submit(time.sleep, LONG)


def leave_raw_thread() -> None:
    import _thread

    begun = threading.Lock()
    begun.acquire()

    def wait() -> None:
        begun.release()
        time.sleep(LONG)

    _thread.start_new_thread(wait, ())
    begun.acquire()


def leave_process() -> None:
    subprocess.Popen(["sh", "-c", "sleep 60; echo late"])


def leave_background_job() -> None:
    os.system("(sleep 60; echo late) &")


def leave_daemon() -> None:
    subprocess.Popen(["sh", "-c", "(sleep 60; echo late) &"], start_new_session=True).wait()


def leave_fork() -> None:
    if os.fork() == 0:
        time.sleep(LONG)
        os._exit(0)


LEFT = [
    leave_thread,
    leave_timer,
    leave_loop,
    leave_sleeper,
    leave_pool,
    leave_raw_thread,
    leave_process,
    leave_background_job,
    leave_daemon,
    leave_fork,
]


@pytest.mark.parametrize("leave", LEFT)
def test_what_is_left_running_ends_with_the_process(alone: NotebookExecutor, leave: Callable[[], None]) -> None:
    def left() -> int:
        leave()
        return os.getpid()

    future = alone.submit(left)
    pid = future.result(SAFETY)
    assert alone.submit(os.getpid).result(SAFETY) != pid
    assert future.logs.stderr.count("\n") == 1
    assert future.logs.stderr.startswith("left running by the task, and ended with its process: ")


def test_a_child_whose_parent_ended_while_processes_were_listed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = LeftoverDetector()
    detector._processes |= {*orphans.children()}  # of other tests
    monkeypatch.setattr(detector, "_holders", lambda: iter(()))  # as read before the child was there
    child = subprocess.Popen(["sleep", str(LONG)])
    try:
        left = detector.find()
        assert [words.split()[1] for words in left.blocking] == [str(child.pid)]
        assert not left.detached
    finally:
        child.kill()
        child.wait()


PATCHES: dict[str, Callable[[], object]] = {
    "pickle": lambda: setattr(pickle, "dumps", nothing),
    "threading": lambda: setattr(threading.Thread, "start", nothing),
    "time": lambda: setattr(time, "sleep", nothing),
    "subprocess": lambda: setattr(subprocess, "Popen", nothing),
    "os": lambda: setattr(os, "getcwd", nothing),
    "an audit hook": lambda: sys.addaudithook(nothing),
    "niceness": lambda: os.nice(1) if os.geteuid() else setattr(os, "fork", nothing),
}


@pytest.mark.parametrize("name", PATCHES)
def test_a_process_with_patched_internals_is_replaced(alone: NotebookExecutor, name: str) -> None:
    patch = PATCHES[name]
    pid = alone.submit(lambda: (patch(), os.getpid())[1]).result(SAFETY)
    assert alone.submit(os.getpid).result(SAFETY) != pid


def idle_pool() -> None:
    from concurrent.futures import ThreadPoolExecutor

    global POOL
    POOL = ThreadPoolExecutor(2)  # type: ignore[name-defined]
    assert POOL.submit(abs, -1).result() == 1  # type: ignore[name-defined]


def progress_bar() -> None:
    from tqdm import tqdm

    tqdm.monitor_interval = 10
    for _ in tqdm(range(2)):
        pass


def silent_child() -> None:
    null = subprocess.DEVNULL
    subprocess.Popen(["sleep", "60"], stdout=null, stderr=null)


def finished_things() -> None:
    thread = threading.Thread(target=abs, args=(1,))
    thread.start()
    subprocess.run(["true"], check=True)
    threading.Thread(target=lambda: time.sleep(0.005)).start()  # it ends in a moment


@pytest.mark.parametrize("harmless", [idle_pool, progress_bar, silent_child, finished_things])
def test_what_reaches_nobody_is_no_reason_to_replace(alone: NotebookExecutor, harmless: Callable[[], None]) -> None:
    def leaves() -> int:
        harmless()
        return os.getpid()

    pids = {alone.submit(leaves).result(SAFETY) for _ in range(2)}
    assert pids == {alone.submit(os.getpid).result(SAFETY)}


# ---------------------------------------------------------------------- the function itself

CELL = """
number, calls = 1, 0

def helper(x): return x + number

def stains(change):
    global number, calls
    calls += 1
    seen = calls, helper(1), getattr(stains, "mark", None), stains.__defaults__
    if change:
        number, stains.mark, stains.__defaults__ = 2, "left", (0,)
    return seen

def plain(x): return helper(x), id(plain)
"""


@pytest.fixture
def cell() -> Iterator[dict[str, Any]]:
    """The names of ``__main__``, with the functions of a cell of a notebook; put back afterwards."""
    names = vars(sys.modules["__main__"])
    before = names.copy()
    exec(compile(CELL, "<a cell with functions>", "exec"), names)
    yield names
    names.clear()
    names.update(before)


def test_each_task_has_the_function_as_it_was_submitted(
    executor_of_one: NotebookExecutor, cell: dict[str, Any]
) -> None:
    plain = [executor_of_one.submit(cell["plain"], 1).result(SAFETY) for _ in range(5)]
    assert {value for value, _ in plain} == {2}
    assert plain[-1] == plain[-2], "it is unpickled once"
    seen = [executor_of_one.submit(cell["stains"], n % 3 == 2).result(SAFETY) for n in range(8)]
    assert seen == [(1, 2, None, None)] * 8
    cell["number"] = 5
    assert executor_of_one.submit(cell["plain"], 1).result(SAFETY)[0] == 6
