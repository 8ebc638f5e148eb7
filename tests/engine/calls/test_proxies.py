"""Proxies of a manager in calls: their objects are there until the task has ended, whoever else has forgotten them."""

from __future__ import annotations

import functools
import gc
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waits import SAFETY

from scaler_notebook import NotebookExecutor, ScalerFuture


class Holder:
    """Has a proxy somewhere within."""

    def __init__(self, proxy: Any) -> None:
        self.inner = {"proxy": [proxy]}

    def append(self, value: object) -> None:
        self.inner["proxy"][0].append(value)


def appends_later(to: Any, ready: str) -> int:
    """Waits until nobody has a proxy but the task that is queued behind it."""
    while not os.path.exists(ready):
        time.sleep(0.01)
    to.append(1)
    return len(to)


PROXIES: dict[str, Callable[[NotebookExecutor, Any, str], ScalerFuture[Any]]] = {
    "an argument": lambda ex, proxy, ready: ex.submit(appends_later, proxy, ready),
    "by name": lambda ex, proxy, ready: ex.submit(appends_later, to=proxy, ready=ready),
    "within containers": lambda ex, proxy, ready: ex.submit(lambda c: appends_later(c["a"][0], ready), {"a": (proxy,)}),
    "within an object": lambda ex, proxy, ready: ex.submit(
        lambda held: appends_later(held.inner["proxy"][0], ready), Holder(proxy)
    ),
    "of a partial": lambda ex, proxy, ready: ex.submit(functools.partial(appends_later, proxy, ready)),
    "of a closure": lambda ex, proxy, ready: ex.submit(lambda: appends_later(proxy, ready)),
    "of a method": lambda ex, proxy, ready: ex.submit(proxy.append, 1),
    "with a future beside it": lambda ex, proxy, ready: ex.submit(
        lambda to, at: appends_later(to, at),  # type: ignore[arg-type]
        proxy,
        ex.submit(str, ready),
    ),
    "of a reference": lambda ex, proxy, ready: ex.submit(appends_later, ex.send_object(proxy), ready),
    "of a graph": lambda ex, proxy, ready: ex.get(
        {"to": proxy, "at": ready, "done": (appends_later, "to", "at")}, ["done"], block=False
    )["done"],
}


@pytest.mark.parametrize("way", PROXIES)
def test_a_proxy_that_only_a_task_has_is_kept_until_its_end(
    way: str, executor_of_one: NotebookExecutor, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    with multiprocessing.get_context("fork").Manager() as manager:
        before = executor_of_one.submit(appends_later, [], str(ready))
        future = PROXIES[way](executor_of_one, manager.list(), str(ready))
        gc.collect()
        ready.touch()
        assert before.result(SAFETY) == 1
        assert future.result(SAFETY) in (1, None)
        again = future.retry() if way != "of a graph" else future
        assert again.result(SAFETY) in (1, 2, None)
        executor_of_one.clear()


def test_a_proxy_of_an_initializer_is_kept() -> None:
    with multiprocessing.get_context("fork").Manager() as manager:

        def prepare(to: Any) -> None:
            to.append(1)

        with NotebookExecutor(n_workers=1, initializer=prepare, initargs=(manager.list(),)) as executor:
            gc.collect()
            assert executor.submit(abs, -1).result(SAFETY) == 1
