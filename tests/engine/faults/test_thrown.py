"""An exception at each place in the scheduler's loop: every future ends all the same, and the engine goes on."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
import thrown
from raw_peers import scheduler_of
from waits import SAFETY

from scaler_notebook import NotebookExecutor, ScalerFuture, wait

PLACES = {
    "clients:Clients._serve": 4,
    "clients:Clients._flush_if_due": 3,
    "clients:Clients.send": 3,
    "core.core:Core.submit": 3,
    "core.core:Core.cancel": 1,
    "core.core:Core.dispatch": 6,
    "core.core:Core.tick": 5,
    "core.core:Core.process_ready": 2,
    "core.core:Core.process_ended_run": 3,
    "core.core:Core.process_died": 1,
    "core.transitions:Transitions.handle": 6,
    "processes.process_pool:ProcessPool._receive": 6,
    "processes.process_pool:ProcessPool._serve": 6,
    "processes.process_pool:ProcessPool.reap": 3,
    "processes.process_pool:ProcessPool.fill": 2,
    "processes.task_process:TaskProcess.run": 3,
    "processes.process_pool:ProcessPool.kill": 1,
    "processes.task_process:TaskProcess.interrupt": 1,
    "processes.task_process:TaskProcess.set_context": 3,
    "processes.reaper:Reaper._find_cause": 1,
    "processes.process_pool:ProcessPool._gone": 1,
    "task_output:TaskOutput.new_messages": 3,
    "task_output:TaskOutput.reset": 3,
    "event_loop:EventLoop._timeout": 5,
    "event_loop:EventLoop._signalled": 2,
    "output_forwarder:OutputForwarder.look": 5,
    "output_forwarder:OutputForwarder.forward": 3,
    "process_events:ProcessEvents.ended_run": 3,
    "process_events:ProcessEvents.died": 1,
    "process_events:ProcessEvents.ready": 2,
    "processes.prewarming:Prewarming.prewarm_idle": 5,
    "processes.prewarming:Prewarming.learn": 3,
}
OFTEN = {
    "core.core:Core.process_ended_run",
    "processes.process_pool:ProcessPool._receive",
    "processes.process_pool:ProcessPool._gone",
}


def fails() -> None:
    raise ValueError("its own")


@pytest.mark.parametrize("place", [pytest.param(p, marks=[] if p in OFTEN else pytest.mark.matrix) for p in PLACES])
def test_an_exception_in_the_scheduler_is_nobody_elses(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened = thrown.throw(place, PLACES[place], tmp_path, monkeypatch)
    with NotebookExecutor(n_workers=2, grace=0.3) as executor:
        executor.submit(abs, -1).exception(SAFETY)
        scheduler = scheduler_of(executor).pid
        stopped = executor.submit(time.sleep, 60)
        futures: list[ScalerFuture[object]] = [executor.submit(abs, -number) for number in range(10)]
        futures += [executor.submit(print, "text"), executor.submit(fails), executor.submit(os._exit, 3)]
        futures += [executor.submit(sys.stdout.write, "x" * 100)]
        assert wait(futures, SAFETY).not_done == set()
        assert stopped.cancel(SAFETY) or stopped.cancel(SAFETY), "a request may be refused for that; then once more"
        assert happened.exists(), "the place was never reached"
        assert executor.submit(divmod, 7, 2).result(SAFETY) == (3, 1)
        assert scheduler_of(executor).pid == scheduler, "it is another scheduler"
