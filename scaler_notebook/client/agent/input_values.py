"""A task whose arguments hold futures: its engine is told whose values it needs, and given those that have come here.

A future that has not ended is named, and the engine hands its value on. One that has ended is an object that travels
with the task. And one that ended while the task was on its way is missed by the engine, which says so: its value is
here then, for the engine sent it first, and the task is sent again with it. (Not here yet is the value of one that was
missing something itself: then the task waits here for its end.)
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state.lifecycle import TaskLifecycle
from scaler_notebook.client.task_state.outcome import missing_objects
from scaler_notebook.client.waiting import callback_thread
from scaler_notebook.engines.base import Engine
from scaler_notebook.protocol import failures
from scaler_notebook.protocol.messages import (
    ClientMessage,
    EngineMessage,
    ObjectCreate,
    ObjectDelete,
    Task,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskResult,
    TaskResultType,
)
from scaler_notebook.protocol.states import TaskState

from .client_agent import Agent
from .future_manager import FutureManager
from .mailbox import Letter


class Supplies:
    """Of one connection.

    Parameters
    ----------
    manager
        Has the futures of the tasks that were sent.
    engine
        What needs the values.
    agent
        Sends.
    """

    def __init__(self, manager: FutureManager, engine: Engine, agent: Agent) -> None:
        self._manager = manager
        self._engine = engine
        self._agent = agent

    def add_task(self, messages: list[ClientMessage], future: ScalerFuture[object], task: Task) -> bool:
        """Add a task to messages, with the values of its inputs that have ended.

        False if one of them did not end well: that ends the future, and nothing is added. The future is not known to
        anybody yet, or its task was sent before.
        """
        ended = [i for i in future.inputs.values() if isinstance(i, ScalerFuture) and i.done()]
        last = next((last for each in ended if (last := _fallen(task, each)) is not None), None)
        contents = {}
        try:
            # A value that was unpickled here is pickled again, which runs code of the user's.
            contents = {each.task_id: each.content() for each in ended if last is None and not each.stays}
        except Exception as error:
            last = failures.internal_failure(task.task_id, error)
        if last is not None:
            self._manager.hand_over(future, last)
            return False
        for object_id, content in contents.items():
            messages.append(ObjectCreate(object_id, self._engine.adopt_object(object_id, content)))
        messages.append(task)
        if contents:
            messages.append(ObjectDelete(tuple(contents)))
        return True

    def _send_again(self, future: ScalerFuture[object], task: Task) -> None:
        messages: list[ClientMessage] = []
        self.add_task(messages, future, task)
        with future._lock:  # a cancel from here on is sent behind it; one before is answered already
            if future.state is TaskState.CANCELLING or future.done():
                messages = [each for each in messages if each is not task]
            self._agent.hand_over(Letter(*messages))

    def answered(self, messages: Sequence[EngineMessage]) -> Sequence[EngineMessage]:
        """Send again what lacks only values of this client's futures; gives the messages about all others.

        On the agent's thread.
        """
        return [message for message in messages if not self._sent_again(message)]

    def _sent_again(self, message: EngineMessage) -> bool:
        if not isinstance(message, TaskResult) or message.outcome is not TaskResultType.MISSING_OBJECTS:
            return False
        future = self._manager.find(message.task_id)
        if future is None or future.task is None:
            return False
        named = [future.inputs.get(name) for name in missing_objects(message.payload)]
        lacking = [each for each in named if isinstance(each, ScalerFuture) and not each.stays]
        if len(lacking) < len(named):
            return False
        again = partial(self._send_again, future, future.task)
        _Ends(lacking, partial(callback_thread.inputs.post, again))  # there, for it may run the user's code
        return True


class _Ends:
    """Calls ``then()`` once, when all of the futures have ended."""

    def __init__(self, futures: Sequence[ScalerFuture[object]], then: Callable[[], object]) -> None:
        self._left = set(futures)
        self._then = then
        self._mutex = threading.Lock()
        for future in futures:
            future.watch(self)
            self(future)

    def __call__(self, future: TaskLifecycle) -> None:
        if not future.done():
            return
        future.unwatch(self)
        with self._mutex:
            last = self._left == {future}
            self._left.discard(future)
        if last:
            self._then()


def _fallen(task: Task, needed: ScalerFuture[object]) -> TaskResult | TaskCancelConfirm | None:
    """The end of a task that needs a value which there is not."""
    if needed.cancelled():
        return TaskCancelConfirm(task.task_id, TaskCancelConfirmType.CANCELED, True, needed.origin or needed.task_id)
    if needed.failed:
        error = needed.exception(0)
        assert error is not None
        return TaskResult(
            task.task_id,
            TaskResultType.FAILED,
            failures.internal_failure("", error).payload,
            origin=needed.origin or needed.task_id,
        )
    return None
