"""Timeouts of tasks: the client cancels a task that has not ended by its deadline, whatever engine runs it."""

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from scaler_notebook.client.agent.client_agent import Agent
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state import lifecycle
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.client.waiting.permission import is_agents_thread
from scaler_notebook.protocol.future_events import DeadlineReached

if TYPE_CHECKING:
    from asyncio import TimerHandle


def schedule_timeout(future: ScalerFuture[Any], when: float, agent: Agent) -> None:
    """Have the agent request a cancel by force when a task's deadline comes, unless the task has ended before.

    On the agent's thread, where tasks are ended, except at the end of the session: the agent's timers end with it. The
    timer is cancelled when the task ends.

    Parameters
    ----------
    future
        The task's future.
    when
        The deadline, in monotonic seconds.
    agent
        The agent that keeps the timer.
    """
    over = DeadlineReached("its timeout, from the submit on, is over")
    timer = agent.call_at(when, partial(future.handle, over))

    def look(changed: ObservedTask) -> None:
        if changed.done():
            timer.cancel()
            changed.unwatch(look)

    future.watch(look)
    look(future)


class RunLimit:
    """The limit of each try of one task: the agent requests a cancel by force when a try runs for longer.

    A try counts from the moment on at which its start is announced here.

    Parameters
    ----------
    seconds
        How long a try may run.
    agent
        The agent that keeps the timer.
    """

    def __init__(self, seconds: float, agent: Agent) -> None:
        self._seconds = seconds
        self._agent = agent
        self._timed_try = 0  # the number of the try that the timer is for
        self._timer: TimerHandle | None = None

    def watch(self, future: ScalerFuture[Any]) -> None:
        """Follow a task until it ends; on the agent's thread."""
        future.watch(self._look)
        self._look(future)

    def _look(self, future: ObservedTask) -> None:
        """Set the timer if a try has started, and cancel it if that has ended."""
        if future.done():
            future.unwatch(self._look)
        running = future.running_try
        if running == self._timed_try:
            return
        if running and not is_agents_thread():
            return  # the agent's thread, which alone sets timers, has just noted the start, and looks next
        if self._timer is not None:
            self._timer.cancel()
        self._timed_try, self._timer = running, None
        if running:
            over = DeadlineReached(f"its run_timeout of {self._seconds:g} s is over")
            when = time.monotonic() + self._seconds
            self._timer = self._agent.call_at(when, partial(lifecycle.handle, future, over))
