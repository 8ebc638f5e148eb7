"""Timeouts of tasks: the client cancels a task that has not ended by its deadline, whatever engine runs it."""

from functools import partial
from typing import Any

from scaler_notebook.client.agent.client_agent import Agent
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.protocol.future_events import DeadlineReached


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
    timer = agent.call_at(when, partial(future.handle, DeadlineReached()))

    def look(changed: ObservedTask) -> None:
        if changed.done():
            timer.cancel()
            changed.unwatch(look)

    future.watch(look)
    look(future)
