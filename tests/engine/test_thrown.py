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
    "clients:Clients._flush": 3,
    "clients:Clients.tell": 3,
    "core:Core.submit": 3,
    "core:Core.cancel": 1,
    "core:Core.dispatch": 6,
    "core:Core.tick": 5,
    "core:Core.process_ready": 2,
    "core:Core.process_ended_run": 3,
    "core:Core.process_died": 1,
    "transitions:Handling._handle": 6,
    "processes.process_pool:Pool._receive": 6,
    "processes.process_pool:Pool._serve": 6,
    "processes.process_pool:Pool.reap": 3,
    "processes.process_pool:Pool.fill": 2,
    "processes.process_pool:Pool.run": 3,
    "processes.process_pool:Pool.kill": 1,
    "processes.process_pool:Pool.interrupt": 1,
    "processes.process_pool:Pool.move": 3,
    "processes.process_pool:Pool._died": 1,
    "processes.process_pool:Pool._gone": 1,
    "processes.process_pool:Pool.new_output": 3,
    "processes.process_pool:Pool.start_output_over": 3,
    "main:Scheduler._timeout": 5,
    "main:Scheduler._signalled": 2,
    "main:Scheduler._look_at_output": 5,
    "main:Scheduler._forward_output": 3,
    "main:Scheduler.ended_run": 3,
    "main:Scheduler.died": 1,
    "main:Scheduler.ready": 2,
    "processes.prewarming:Warmth.spread": 5,
    "processes.prewarming:Warmth.learn": 3,
}
OFTEN = {"core:Core.process_ended_run", "processes.process_pool:Pool._receive"}


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
