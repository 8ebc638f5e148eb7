"""A task that has not ended by its deadline is cancelled: by its client, whatever engine runs it."""

from functools import partial
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state.lifecycle import TaskLifecycle
from scaler_notebook.protocol.states import FutureEvent

from .client_agent import Agent


def watch_over(future: ScalerFuture[Any], when: float, agent: Agent) -> None:
    """Have the agent request the cancel, by force, at ``when`` (monotonic seconds), unless the task has ended.

    On the agent's thread, as all that ends a task, but for the end of its session: and then there is no timer. The
    timer goes with the task's end.
    """
    timer = agent.call_at(when, partial(future.handle, FutureEvent.DEADLINE))

    def look(changed: TaskLifecycle) -> None:
        if changed.done():
            timer.cancel()
            changed.unwatch(look)

    future.watch(look)
    look(future)
