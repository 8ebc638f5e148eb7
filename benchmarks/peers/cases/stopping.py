"""Tasks that are stopped, and one that kills its process."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import tasks
from ..outcome import Cannot, Outcome
from ..peer import Peer
from ..processes import is_alive
from ..sizes import Sizes
from .support import START, Running, block_workers, now, wait_for_workers, warm_up

RECOVERY = 30.0  # seconds until a peer must work again after a crash
CANCELLED = "cancelled"
NOTHING = "timeout"  # what :meth:`~..peer.Peer.end_of_cancel` gives of a future that does not end


def measure_cancel_loop(peer: Peer, sizes: Sizes) -> Outcome:
    """Measure the cancel of a task in a Python loop, while every other slot is taken."""
    return _measure_cancel(peer, sizes, tasks.loop_on)


def measure_cancel_sleep(peer: Peer, sizes: Sizes) -> Outcome:
    """Measure the cancel of a task in ``time.sleep``, while every other slot is taken."""
    return _measure_cancel(peer, sizes, tasks.sleep_on)


def _measure_cancel(peer: Peer, sizes: Sizes, function: Callable[[str, float], object]) -> Outcome:
    """Measure until the future says cancelled, and until the next task has run in the slot.

    A future that says cancelled while its process lives and its slot stays taken has not been stopped: a "cannot".
    """
    warm_up(peer, 10)
    running, *_ = block_workers(peer, function, tempfile.mkdtemp())
    outcome = Outcome()
    began = now()
    try:
        peer.cancel(running.future)
        how = peer.end_of_cancel(running.future, sizes.patience)
        ended = now() - began
        outcome.notes["the future says"] = how
        _run_next(peer, running, sizes.patience, how)
        outcome.figures["cancel_free"] = now() - began
        if how == NOTHING:
            raise Cannot(f"the future says nothing for {sizes.patience:.0f} s")
        outcome.figures["cancel"] = ended
    except Cannot as why:
        outcome.cannot["cancel"] = str(why)
    if "cancel_free" not in outcome.figures:
        outcome.cannot["cancel_free"] = outcome.cannot["cancel"]
        _free_otherwise(peer, running, outcome)
    return outcome


def _run_next(peer: Peer, running: Running, patience: float, how: str) -> None:
    """Wait for a new task's result; Cannot if the slot is not free in time and the process that had it lives."""
    following = peer.submit(tasks.nothing, 7)
    try:
        peer.result(following, patience)
    except TimeoutError:
        if is_alive(running.process):
            taken = f"after {patience:.0f} s its process lives and its slot is taken"
            raise Cannot(f"the future says {how}; {taken}" if how != NOTHING else f"nothing happens: {taken}") from None
        peer.result(following, START)  # a worker is on its way


def _free_otherwise(peer: Peer, running: Running, outcome: Outcome) -> None:
    """Measure the peer's other way to free a slot, until the next task has run."""
    began = now()
    try:
        outcome.notes["otherwise"] = peer.free_slot_otherwise(running.process)
        peer.result(peer.submit(tasks.nothing, 8), START)
        outcome.figures["cancel_otherwise"] = now() - began
    except Cannot as why:
        outcome.cannot["cancel_otherwise"] = str(why)


def measure_cancel_queued(peer: Peer, sizes: Sizes) -> Outcome:
    """Measure the cancel of many queued tasks, until each future says so."""
    warm_up(peer, 10)
    block_workers(peer, tasks.sleep_on, tempfile.mkdtemp())
    futures = [peer.submit(tasks.nothing, n) for n in range(sizes.queued)]
    time.sleep(1.0)  # each is where it waits
    began = now()
    peer.cancel_many(futures)
    ends = Counter[str]()
    for future in futures:
        ends[peer.end_of_cancel(future, 0.02 if ends[NOTHING] else sizes.patience)] += 1
        if ends[NOTHING] > 20:  # the rest would only show our patience
            break
    seconds = now() - began
    outcome = Outcome({"cancelled": ends[CANCELLED]})
    if ends[CANCELLED] == sizes.queued:
        outcome.figures["cancel_queued"] = seconds
    else:
        outcome.cannot["cancel_queued"] = f"{ends[CANCELLED]} of {sizes.queued} are cancelled"
    return outcome


def measure_crash(peer: Peer, sizes: Sizes) -> Outcome:
    """Measure a task that kills its process: until its future fails, and until the peer works again."""
    warm_up(peer, 10)
    path = Path(tempfile.mkdtemp()) / "died"
    beside = peer.submit(tasks.nap, 1.5)
    began = now()
    future = peer.submit(tasks.die, str(path))
    outcome = Outcome()
    outcome.notes["the future says"] = _failure(peer, future, 40.0)
    outcome.figures["crash_future"] = now() - began
    outcome.figures["crash_runs"] = len(path.read_text().split())
    while "crash_next" not in outcome.figures:
        try:
            peer.result(peer.submit(tasks.nothing, 1), 10)
            outcome.figures["crash_next"] = now() - began
        except Exception:
            if now() - began > RECOVERY:
                raise
            outcome.notes["after that"] = peer.recover()
    outcome.notes["a task beside it"] = _failure(peer, beside, 10.0)
    wait_for_workers(peer, 0.1, now() + RECOVERY)
    outcome.figures["crash_all"] = now() - began
    return outcome


def _failure(peer: Peer, future: Any, timeout: float) -> str:
    """The name of what a task failed with, or ``"finished"``."""
    try:
        peer.result(future, timeout)
    except Exception as error:
        return type(error).__name__
    return "finished"
