"""A look at a running task from outside, while its card is shown: what it uses, and where it is."""

import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state.stack import BETWEEN, TaskStack, process_of
from scaler_notebook.notebook.views import frames
from scaler_notebook.notebook.views.feed import Content
from scaler_notebook.notebook.views.publisher import publisher
from scaler_notebook.quantities import format_bytes

FIRST_LOOK = 0.25  # seconds after the start: what ends before is not looked at
INTERVAL = 1.0  # seconds between two looks


class UsageSampler:
    """Samples CPU and memory of a running task once a second, and sends the figures to the task's card.

    Parameters
    ----------
    tell
        Sends a message to the views of the card; on the publisher's thread.
    is_seen
        Tells whether there are views.
    """

    def __init__(self, tell: Callable[[Content], None], is_seen: Callable[[], bool]) -> None:
        self._tell = tell
        self._is_seen = is_seen
        self._future: ScalerFuture[Any] | None = None
        self._meter: Any = None  # a UsageMeter

    def follow(self, future: ScalerFuture[Any]) -> None:
        """Look at a task from now on until it has ended, if it runs; on any thread, and idempotent."""
        if self._future is not future and future.running_try:
            self._future, self._meter = future, None
            self._look_later(FIRST_LOOK)

    def stop(self) -> None:
        """Look no more."""
        self._future = self._meter = None

    def where(self, future: ScalerFuture[Any]) -> None:
        """Find out where a task is, on a thread of its own, and tell the card."""

        def look() -> None:
            try:
                words = stack_words(future.where())
            except RuntimeError as problem:
                words = str(problem)
            found = {"type": "where", "text": words, "at": time.time()}
            publisher.call_later(0, lambda: self._tell(found))

        threading.Thread(target=look, name="scaler_notebook where", daemon=True).start()

    def _look_later(self, delay: float) -> None:
        """Have a look after so many seconds, unless nobody holds the card any more then."""
        known = weakref.ref(self)
        publisher.call_later(delay, lambda: found._look() if (found := known()) is not None else None)

    def _look(self) -> None:
        """Read what the task uses, and tell the card."""
        future = self._future
        if future is None or future.done():
            return
        self._look_later(INTERVAL)
        if not self._is_seen() or not future.running_try:
            self._meter = None
            return
        try:
            pid = process_of(future)
        except RuntimeError:  # it runs elsewhere, or has ended
            return
        from scaler_notebook.engines.local.client.watching.usage import UsageMeter  # needs psutil, and seldom

        if self._meter is None or self._meter.pid != pid:
            self._meter = UsageMeter(pid)
            return
        used = self._meter.read()
        words = f"{used.cores * 100:.0f} % CPU · {format_bytes(used.memory)}"
        self._tell({"type": "usage", "text": words})


def stack_words(stack: TaskStack) -> str:
    """Return a stack as a person reads it: a line for each frame, the innermost last."""
    return "\n".join(frames.frame_words(*frame) for frame in stack.frames) or BETWEEN
