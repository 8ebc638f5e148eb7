"""Steps that any thread has the agent's thread do, one after the other, for as long as a client is connected."""

import threading
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable

from .sent_messages import PATIENCE

Step = Callable[[], None]


class AgentSteps:
    """The steps of one client's engine."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._loop: AbstractEventLoop | None = None
        self._steps: deque[tuple[Step, threading.Event]] = deque()

    @property
    def is_open(self) -> bool:
        """Whether a client is connected."""
        return self._loop is not None

    def open(self, loop: AbstractEventLoop) -> None:
        """Take steps from now on; on the agent's thread, whose loop this is."""
        self._thread = threading.current_thread()
        self._loop = loop

    def close(self) -> None:
        """Take no more steps, and forget those that are not done."""
        with self._mutex:
            self._loop = None
            steps, self._steps = self._steps, deque()
        for _, done in steps:
            done.set()

    def post(self, step: Step) -> threading.Event:
        """Queue a step for the agent's thread, and return an event that is set when the step is done.

        Raises
        ------
        RuntimeError
            No client is connected.
        """
        done = threading.Event()
        with self._mutex:  # the loop is closed only after close() has been here
            if self._loop is None:
                raise RuntimeError(
                    "no client is connected: it is from its first submit on, until it or the engine ends"
                )
            self._steps.append((step, done))
            self._loop.call_soon_threadsafe(self._work)
        return done

    def do(self, step: Step) -> None:
        """Have a step done, and return when it is; at once on the agent's own thread.

        Raises
        ------
        RuntimeError
            No client is connected.
        TimeoutError
            The agent's thread is stuck.
        """
        done = self.post(step)
        if threading.current_thread() is not self._thread and not done.wait(PATIENCE):
            raise TimeoutError(f"the agent's thread did not take it within {PATIENCE} s: is it blocked?")

    def _work(self) -> None:
        if not self._steps:  # the engine was closed meanwhile
            return
        step, done = self._steps.popleft()
        try:
            step()
        finally:
            done.set()
