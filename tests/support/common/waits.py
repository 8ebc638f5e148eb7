"""Bounded waits for what a future shows; no polling, no sleeps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from scaler_notebook import ScalerFuture, TaskState

SAFETY = 10.0  # seconds; everything waited for here takes milliseconds, on a busy machine a second


def until(future: ScalerFuture[Any], condition: Callable[[], bool], what: str) -> None:
    """Wait until ``condition`` holds, looking at it after each change of the future."""
    held = threading.Event()

    def look(_: Any) -> None:
        if condition():
            held.set()

    future.watch(look)
    try:
        look(future)
        assert held.wait(SAFETY), f"{future} never came to {what}; it wrote {future.logs}"
    finally:
        future.unwatch(look)


def until_running(future: ScalerFuture[Any]) -> None:
    """Wait until the engine says that it runs."""
    until(future, lambda: future.state is TaskState.RUNNING, "run")


def until_written(future: ScalerFuture[Any], text: str) -> None:
    """Wait until the task has written ``text``: its own code has come that far."""
    until(future, lambda: text in str(future.logs), f"write {text!r}")
