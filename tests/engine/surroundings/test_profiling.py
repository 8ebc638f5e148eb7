"""What a task took, as its future tells it: against the real engine, and where there is nothing to tell."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from retried_tasks import exits, fails, tries
from waits import SAFETY, until_running, until_written

from scaler_notebook import CancelReason, EngineLostError, NotebookExecutor, ProfileResult
from scaler_notebook.task import resource_usage
from scaler_notebook.task.resource_usage import PeakReset
from scaler_notebook.testing import detached_future, memory_executor

MB = 1_000_000


@pytest.fixture
def alone(executor_of_one: NotebookExecutor) -> NotebookExecutor:
    """An executor with one worker: its tasks run in one process, one after the other."""
    return executor_of_one


def touches(size: int) -> int:
    """Have ``size`` bytes of memory, for a moment."""
    return int(np.ones(size, np.uint8)[-1]) and os.getpid()


def burns(seconds: float) -> None:
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        pass


def burns_in_a_child(seconds: float) -> None:
    code = "import sys, time\nwhile time.process_time() < float(sys.argv[1]): pass"
    subprocess.run([sys.executable, "-c", code, str(seconds)], check=True)


def burns_in_a_thread(seconds: float) -> None:
    def until() -> None:
        begun = time.thread_time()
        while time.thread_time() - begun < seconds:
            pass

    thread = threading.Thread(target=until)
    thread.start()
    thread.join()


# ---------------------------------------------------------------------- figures


def test_the_peak_of_memory_is_that_of_the_task_alone(alone: NotebookExecutor) -> None:
    small, large, again = (alone.submit(touches, size * MB) for size in (1, 300, 1))
    assert len({future.result(SAFETY) for future in (small, large, again)}) == 1, "one process"
    peaks = [future.profiling_info().memory_peak for future in (small, large, again)]
    assert all(peak is not None and peak > 5 * MB for peak in peaks)
    small_peak, large_peak, peak_again = (peak or 0 for peak in peaks)
    assert 290 * MB < large_peak - small_peak < 400 * MB
    assert peak_again - small_peak < 100 * MB
    assert large.profiling_info().peak_memory == large_peak


def test_where_the_count_cannot_begin_anew_the_peak_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_usage, "RESET_PEAK", ("/proc/self/no_such_file", b"5"))
    touches(300 * MB)
    figures = resource_usage.Measurement().figures()
    assert figures.peak_rss > 300 * MB
    assert figures.cpu >= 0
    assert figures.processor == str(os.getpid())
    assert 0 < figures.started <= figures.ended


@pytest.fixture
def peak() -> Iterator[PeakReset]:
    kept = PeakReset()
    kept.reset()
    yield kept
    kept.close()


def test_the_file_that_resets_the_peak_is_opened_once(peak: PeakReset) -> None:
    before = os.listdir("/proc/self/fd")
    peak.reset()
    assert os.listdir("/proc/self/fd") == before


def test_where_a_task_has_put_a_file_of_its_own_nothing_is_written_to_it(peak: PeakReset, tmp_path: Path) -> None:
    path, number = tmp_path / "file", peak._descriptor
    with path.open("wb") as file:
        os.dup2(file.fileno(), number)
    peak.reset()
    assert peak._descriptor != number, "opened anew"
    os.close(number)
    assert path.read_bytes() == b""


def test_where_a_task_has_closed_the_file_it_is_opened_anew(peak: PeakReset) -> None:
    os.close(peak._descriptor)
    touches(300 * MB)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert resource_usage.Measurement(peak).figures().peak_rss < before - 200 * MB
    assert os.readlink(f"/proc/self/fd/{peak._descriptor}").endswith("clear_refs")


def test_a_fork_resets_its_own_peak(peak: PeakReset) -> None:
    if (child := os.fork()) == 0:
        peak.reset()
        os._exit(os.readlink(f"/proc/self/fd/{peak._descriptor}") != f"/proc/{os.getpid()}/clear_refs")
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("burner", [burns, burns_in_a_child, burns_in_a_thread])
def test_cpu_is_that_of_the_process_its_threads_and_its_children(alone: NotebookExecutor, burner: Any) -> None:
    alone.submit(burns, 0.4).result(SAFETY)
    future = alone.submit(burner, 0.2)
    idle = alone.submit(time.sleep, 0.3)
    future.result(SAFETY)
    idle.result(SAFETY)
    cpu = future.profiling_info().cpu_time_s
    assert cpu is not None
    assert 0.19 < cpu < 0.2 + 0.19, "neither another task's nor none"
    assert (idle.profiling_info().cpu_time_s or 0.0) < 0.1
    assert idle.profiling_info().duration_s >= 0.3


def test_waiting_is_counted_apart_from_running(alone: NotebookExecutor) -> None:
    alone.submit(abs, -1).result(SAFETY)
    first, second = alone.submit(time.sleep, 0.3), alone.submit(time.sleep, 0.1)
    second.result(SAFETY)
    before, after = first.profiling_info(), second.profiling_info()
    assert before.duration_s >= 0.3
    assert after.duration_s >= 0.1
    assert second.submitted_at + after.queue_s >= first.submitted_at + before.queue_s + before.duration_s
    total = after.queue_s + after.duration_s
    assert total == pytest.approx((second.ended_at or 0.0) - second.submitted_at)


def test_bytes_are_those_of_the_pickles_and_their_buffers(new_executor: NotebookExecutor) -> None:
    echoed = new_executor.submit(bytes.upper, b"x" * 50_000)
    array = new_executor.submit(np.negative, np.ones(3 * MB, np.uint8))
    failed = new_executor.submit(divmod, 1, 0)
    array.result(SAFETY)
    echoed.result(SAFETY)  # a result that was looked at has its size all the same
    assert isinstance(failed.exception(SAFETY), ZeroDivisionError)
    for future, size in ((echoed, 50_000), (array, 3 * MB)):
        figures = future.profiling_info()
        assert figures.argument_bytes is not None
        assert size <= figures.argument_bytes < size + 1_000
        assert size <= figures.result_bytes < size + 1_000
    assert failed.profiling_info().result_bytes > 100, "the exception's"


def test_who_is_told_that_it_is_done_finds_the_figures(alone: NotebookExecutor) -> None:
    seen: list[ProfileResult] = []
    told = threading.Event()
    future = alone.submit(os.getpid)

    def look(done: Any) -> None:
        seen.append(done.profiling_info())
        told.set()

    future.add_done_callback(look)
    assert told.wait(SAFETY)
    assert seen == [future.profiling_info()]
    assert seen[0].processor == str(future.result(SAFETY))
    assert seen[0].tries == 1


def test_of_several_tries_the_last_one_counts(alone: NotebookExecutor, tmp_path: Path) -> None:
    future = alone.submit_verbose(tries, (tmp_path / "trace", fails, exits, os.getpid), retries=5)
    pid = future.result(SAFETY)
    figures = future.profiling_info()
    assert (figures.tries, figures.processor) == (3, str(pid))
    assert figures.queue_s >= 0.3, "both pauses"
    assert figures.duration_s < figures.queue_s


# ---------------------------------------------------------------------- tasks that were stopped, or never ran


def test_before_the_end_there_are_none(alone: NotebookExecutor) -> None:
    running, queued = alone.submit(time.sleep, 60), alone.submit(abs, -1)
    until_running(running)
    with pytest.raises(ValueError, match=r"sleep\(60\) is running: its figures come with its end"):
        running.profiling_info()
    with pytest.raises(ValueError, match=r"abs\(-1\) is submitted"):
        queued.profiling_info()
    assert queued.cancel(SAFETY)
    with pytest.raises(ValueError, match=r"abs\(-1\) never ran"):
        queued.profiling_info()


def test_of_a_task_that_was_stopped_there_is_what_this_side_has_seen(alone: NotebookExecutor) -> None:
    future = alone.submit(lambda: (print("begun", flush=True), time.sleep(60)))
    until_running(future)
    until_written(future, "begun")
    assert future.cancel(SAFETY)
    figures = future.profiling_info()
    assert future.cancel_reason is CancelReason.STOPPED
    assert figures.duration_s == pytest.approx((future.ended_at or 0.0) - (future.started_at or 0.0))
    assert (figures.cpu_time_s, figures.memory_peak, figures.result_bytes) == (None, None, 0)
    assert figures.processor == future.processor != ""


def test_a_result_that_was_discarded_leaves_its_figures(alone: NotebookExecutor) -> None:
    future = alone.submit(bytes, 5_000)
    future.result(SAFETY)
    before = future.profiling_info()
    assert future.cancel()
    assert future.profiling_info() == before
    assert before.memory_peak is not None


def test_an_engine_that_is_lost_takes_the_figures_along() -> None:
    running, queued = detached_future("fit()"), detached_future("fit()")
    running.start()
    for future in (running, queued):
        future.lose_engine()
        assert isinstance(future.exception(0), EngineLostError)
    assert running.profiling_info().cpu_time_s is None
    assert running.profiling_info().argument_bytes is None, "it was made by hand"
    with pytest.raises(ValueError, match="never ran, as far as is known here"):
        queued.profiling_info()


def test_an_engine_that_measures_nothing_has_the_times_of_its_messages() -> None:
    with memory_executor(auto=True) as executor:
        future = executor.submit(time.sleep, 0.2)
        future.result(SAFETY)
        figures = future.profiling_info()
    assert figures.duration_s >= 0.2
    assert (figures.cpu_time_s, figures.memory_peak) == (None, None)
