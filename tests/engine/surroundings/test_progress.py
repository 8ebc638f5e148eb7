"""Progress from inside a task: ``progress``, ``current_task().report``, tqdm, and joblib."""

from __future__ import annotations

import math
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from waits import SAFETY, until

from scaler_notebook import NotebookExecutor, ScalerFuture, current_task, progress
from scaler_notebook.task import current_task as current_task_module
from scaler_notebook.task import mean_rate
from scaler_notebook.task import progress as progress_module
from scaler_notebook.task.interruption.progress_slot import OFFSET, ProgressSlot
from scaler_notebook.testing import detached_future, memory_executor


def seen(future: ScalerFuture[Any]) -> tuple[float, float, str] | None:
    last = future.progress
    return None if last is None else (last.done, last.total, last.note)


def a_loop() -> int:
    return sum(progress([1, 2, 3], note="adding"))


def a_generator() -> int:
    return sum(progress(iter([1, 2, 3])))


def a_total() -> None:
    bar = progress[int](total=10)
    bar.update(4)
    bar.note = "nearly"
    bar.update(6)


def a_report() -> None:
    current_task().report(0.25, 1, "a quarter")


def what_is_no_number() -> None:
    current_task().report(float("nan"), float("inf"))


def tqdm_bar() -> None:
    from tqdm.auto import tqdm

    for _ in tqdm(range(3), desc="outer"):
        for _ in tqdm(range(2), desc="inner", leave=False):
            pass


def tqdm_notebook() -> None:
    from tqdm.notebook import tqdm, trange

    for _ in tqdm(["a", "b"], desc="widgets", ncols="80%", display=True, colour="green"):
        for _ in trange(3, leave=False):
            time.sleep(0.001)


def tqdm_manual() -> None:
    from tqdm import tqdm

    with tqdm(total=8, desc="pieces") as bar:
        bar.update(5)


def parallel_call() -> None:
    from joblib import Parallel, delayed

    def outer(number: int) -> None:
        Parallel(n_jobs=1)(delayed(abs)(n) for n in range(number))

    Parallel(n_jobs=2, backend="threading")(delayed(outer)(n) for n in range(5))


def one_call() -> None:
    from joblib import Parallel, delayed

    Parallel(n_jobs=2, backend="threading")([delayed(abs)(1)])


def read_call(jobs: int = 2) -> None:
    from joblib import Parallel, delayed

    several = Parallel(n_jobs=jobs, backend="threading", return_as="generator")
    assert list(several(delayed(abs)(n) for n in range(5))) == list(range(5))


def read_call_of_one_job() -> None:
    read_call(1)


def reported_calls() -> None:
    from joblib import Parallel, delayed

    current_task().report(1, 2, "half of it")
    Parallel()(delayed(abs)(n) for n in range(3))


WAYS: list[tuple[Callable[[], Any], tuple[float, float, str]]] = [
    (a_loop, (3, 3, "adding")),
    (a_generator, (3, -1, "")),
    (a_total, (10, 10, "nearly")),
    (a_report, (0.25, 1, "a quarter")),
    (what_is_no_number, (0, -1, "")),
    (tqdm_bar, (3, 3, "outer")),
    (tqdm_notebook, (2, 2, "widgets")),
    (tqdm_manual, (5, 8, "pieces")),
    (parallel_call, (5, 5, "")),
    (one_call, (1, 1, "")),
    (read_call, (5, 5, "")),
    (read_call_of_one_job, (5, 5, "")),
    (reported_calls, (1, 2, "half of it")),
]


@pytest.mark.parametrize(("function", "last"), WAYS, ids=[function.__name__ for function, _ in WAYS])
def test_the_last_word_stays(
    executor: NotebookExecutor, function: Callable[[], Any], last: tuple[float, float, str]
) -> None:
    for _ in range(3):  # in a process of its own, and in one that has run others
        future = executor.submit(function)
        future.result(SAFETY)
        assert seen(future) == last
        assert str(future.logs) == "", "a bar is not printed as well"
    assert executor.submit(abs, -1).result(SAFETY) == 1


def test_it_moves_while_the_task_runs(executor: NotebookExecutor) -> None:
    def work() -> None:
        for step in progress(range(1000)):
            time.sleep(0.01 if step < 20 else 60)

    future = executor.submit(work)
    until(future, lambda: seen(future) == (20, 1000, ""), "come to the twentieth step")
    os_words = future.trace()
    assert future.cancel(SAFETY)
    assert seen(future) == (20, 1000, "")
    assert len(os_words) == 2, "progress is no part of the trace"


def test_a_loop_that_fails_says_how_far_it_came(executor: NotebookExecutor) -> None:
    future = executor.submit(lambda: [1 / (2 - n) for n in progress(range(5))])
    assert isinstance(future.exception(SAFETY), ZeroDivisionError)
    assert seen(future) == (2, 5, "")


def test_what_a_killed_process_said_counts(executor: NotebookExecutor) -> None:
    future = executor.submit(lambda: (current_task().report(7, 9), os.kill(os.getpid(), signal.SIGKILL)))
    future.exception(SAFETY)
    assert seen(future) == (7, 9, "")


def test_a_tight_loop_sends_few_messages(executor: NotebookExecutor) -> None:
    def work() -> float:
        began = time.monotonic()
        for _ in progress(range(1_000_000)):
            current_task().report(1)
        return time.monotonic() - began

    heard: list[Any] = []
    future = executor.submit(work)
    future.watch(lambda changed: heard.append(seen(future)))
    seconds = future.result(SAFETY * 6)
    assert len(heard) <= 5 + 25 * seconds


def test_what_an_earlier_task_left_running_reports_for_nobody(executor: NotebookExecutor) -> None:
    def leaves_a_thread() -> None:
        import threading

        task = current_task()

        def go_on() -> None:
            while True:
                task.report(666)
                time.sleep(0.001)

        threading.Thread(target=go_on, daemon=True).start()

    def quiet() -> None:
        time.sleep(0.2)

    executor.submit(leaves_a_thread).result(SAFETY)
    later = [executor.submit(quiet) for _ in range(4)]
    assert [(future.result(SAFETY), seen(future)) for future in later] == [(None, None)] * 4


def test_a_bar_with_a_file_of_its_own_is_printed_there(executor: NotebookExecutor) -> None:
    def work() -> str:
        import io

        from tqdm import tqdm

        file = io.StringIO()
        for _ in tqdm(range(3), file=file):
            pass
        return file.getvalue()

    future = executor.submit(work)
    assert "3/3" in future.result(SAFETY)
    assert seen(future) is None


def test_what_tqdm_says_of_its_steps_is_kept(executor: NotebookExecutor) -> None:
    def work() -> None:
        from tqdm import tqdm

        with tqdm(desc="files", total=8, unit="B", unit_scale=1000, postfix={"loss": 0.3, "epoch": 2}) as bar:
            bar.update(5)

    future = executor.submit(work)
    future.result(SAFETY)
    assert seen(future) == (5000, 8000, "files · epoch=2, loss=0.3")
    assert future.progress is not None
    assert future.progress.unit == "B"


Report = tuple[float, float, str, float, str]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The clock of rates, which a test sets."""
    made: SimpleNamespace = SimpleNamespace(now=0.0, monotonic=lambda: made.now)
    monkeypatch.setattr(mean_rate, "time", made)
    yield made
    current_task_module.end_on_thread()


def test_a_rate_is_the_mean_since_the_first_step_of_the_loop(clock: SimpleNamespace) -> None:
    reports: list[Report] = []
    task = current_task_module.CurrentTask("t", reporter=lambda *report: reports.append(report))
    told = {
        0.0: (0, None, -1.0),
        600.0: (0, None, -1.0),  # it has prepared something until then
        600.9: (10, None, -1.0),  # too soon
        601.0: (20, None, 20.0),
        604.0: (20, None, 5.0),
        610.0: (100, 7.5, 7.5),  # the task knows better
        611.0: (100, math.inf, 100 / 11),
        620.0: (0, None, -1.0),  # another loop
        620.5: (5, 7.5, -1.0),
        630.0: (5, None, 0.5),
    }
    for at, (done, rate, _) in told.items():
        clock.now = at
        task.report(done, 1000, rate=rate)
    assert [report[3] for report in reports] == [rate for _, _, rate in told.values()]


def test_a_bar_of_tqdm_has_its_own_rate_and_at_its_end_the_mean(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bar:
        """As much of tqdm as is looked at."""

        fp, disable, pos, total, desc, postfix, unit, unit_scale = sys.stdout, False, 0, 10, "fit: ", None, "step", True

        def __init__(self) -> None:
            self.n = 0
            self._ema_dt: Callable[[], float | None] = lambda: 0.5

        @property
        def format_dict(self) -> dict[str, Any]:
            return {"rate": 1 / seconds if (seconds := self._ema_dt()) else None}

        def refresh(self) -> None:
            self.display()

        def display(self, msg: str | None = None, pos: int | None = None) -> None:
            raise AssertionError("printed")

        def close(self) -> None:
            pass

    reports: list[Report] = []
    task = current_task_module.CurrentTask("t", reporter=lambda *report: reports.append(report))
    current_task_module.begin_on_thread(task)
    progress_module._redirect(Bar)
    monkeypatch.setattr(Bar, "fp", sys.stdout)
    bar = Bar()
    bar.refresh()
    clock.now, bar.n = 10.0, 4
    bar.refresh()
    bar.close()
    assert reports == [(0, 10, "fit", -1.0, "step"), (4, 10, "fit", 2.0, "step"), (4, 10, "fit", 0.4, "step")]


def test_outside_of_a_task_it_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress("abc")) == ["a", "b", "c"]
    current_task().report(1, 2)
    with pytest.raises(TypeError, match="update"):
        list(progress(total=3))
    with pytest.raises(ValueError, match="much"):
        current_task().report("much")  # type: ignore[arg-type]
    assert capsys.readouterr() == ("", "")


def test_on_the_engines_for_tests() -> None:
    with memory_executor(auto=True) as executor:
        future = executor.submit(a_loop)
        assert future.result(SAFETY) == 6
        assert seen(future) == (3, 3, "adding")
    with memory_executor() as executor:
        future = executor.submit(a_loop)
        executor.engine.progress(future, 1, 2, "half")
        assert seen(future) == (1, 2, "half")
    assert seen(detached_future()) is None


# ---------------------------------------------------------------- the slot


@pytest.fixture
def page() -> Iterator[mmap.mmap]:
    with mmap.mmap(-1, 4096) as opened:
        yield opened


def test_each_report_is_news_once(page: mmap.mmap) -> None:
    ours, theirs = ProgressSlot(page), ProgressSlot(page)
    assert theirs.read_new() is None
    ours.write(1, 2.0, 3.0, "ä" * 600, 12.1, "batch" * 900)  # longer than there is room
    report = theirs.read_new()
    assert report is not None
    assert report[:3] == (1, 2.0, 3.0)
    assert report[3].rstrip("\ufffd") == "ä" * 500
    assert report[4:] == (12.1, "batch" * 8)
    assert theirs.read_new() is None
    ours.write(1, 2.0, 3.0, "", 4.0, "batch")
    assert theirs.read_new() == (1, 2.0, 3.0, "", 4.0, "batch")
    ours.write(1, 2.0, 3.0, "")
    assert theirs.read_new() == (1, 2.0, 3.0, "", -1.0, "")
    ours.close()
    theirs.close()


@given(st.binary(max_size=200))
@example(b"\xff" * 8)
def test_no_bytes_harm_the_reader(junk: bytes) -> None:
    with mmap.mmap(-1, 4096) as page:
        slot = ProgressSlot(page)
        page[OFFSET : OFFSET + len(junk)] = junk
        slot.read_new()
        for _ in range(2):  # a version that wraps around hides one report
            slot.write(1, 1, 1, "well")
        assert slot.read_new() == (1, 1, 1, "well", -1.0, "")
        slot.close()


def test_a_writer_that_was_killed_in_the_middle_is_not_believed(page: mmap.mmap) -> None:
    slot = ProgressSlot(page)
    slot.write(1, 1, 2, "first")
    page[OFFSET] = page[OFFSET] | 1
    assert slot.read_new() is None
    slot.write(1, 2, 2, "second")
    assert slot.read_new() == (1, 2, 2, "second", -1.0, "")
    slot.close()
