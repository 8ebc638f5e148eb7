"""Tasks whose arguments hold futures: the engine is told whose values they need, and given those that are here already.

A future that has not ended is named, and the engine hands its value on. The value of one that has ended is sent as an
object along with the task. If a future ends while a task that names it is on its way, the engine misses the value and
says so: the value is here by then, for the engine sent it first, and the task is sent again with it. (If that future
was missing a value itself, the task waits here for its end.) An engine that misses a value which it was sent has had no
room for it: it is given some time, and then the task fails.
"""

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.client.task_state.outcome import missing_objects
from scaler_notebook.client.waiting import callback_thread
from scaler_notebook.engines.base import Engine
from scaler_notebook.engines.scheduling.retry import backoff
from scaler_notebook.protocol.exceptions import failures
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
from .outgoing_queue import OutgoingBatch

MAX_REFUSALS = 5  # how often an engine may miss a value that it was sent


class InputValues:
    """The values of futures that one connection sends along with tasks.

    Parameters
    ----------
    manager
        Knows the futures of the tasks that were sent.
    engine
        The engine that needs the values.
    agent
        Sends the messages.
    """

    def __init__(self, manager: FutureManager, engine: Engine, agent: Agent) -> None:
        self._manager = manager
        self._engine = engine
        self._agent = agent
        self._resends: weakref.WeakKeyDictionary[ScalerFuture[object], int] = weakref.WeakKeyDictionary()

    def add_task(self, messages: list[ClientMessage], future: ScalerFuture[object], task: Task) -> bool:
        """Append a task to messages, between the values of its ended inputs and the message that releases these values.

        Return False if an input failed or was cancelled: that ends the task's future, and nothing is appended.

        Parameters
        ----------
        messages
            What is going to be sent; appended to.
        future
            The task's future. Nobody knows it yet, or its task was sent before.
        task
            The task.
        """
        ended = [i for i in future.inputs.values() if isinstance(i, ScalerFuture) and i.done()]
        last = next((last for each in ended if (last := _result_of_failed_input(task, each)) is not None), None)
        contents = {}
        try:
            # A value that was unpickled here is pickled again, which runs code of the user's.
            contents = {each.task_id: each.content() for each in ended if last is None and not each.retained_by_engine}
        except Exception as error:
            last = failures.internal_failure(task.task_id, error)
        if last is not None:
            self._manager.dispatch(future, last)
            return False
        for object_id, content in contents.items():
            messages.append(ObjectCreate(object_id, self._engine.adopt_object(object_id, content)))
        messages.append(task)
        if contents:
            messages.append(ObjectDelete(tuple(contents)))
        return True

    def _resend(self, future: ScalerFuture[object], task: Task) -> None:
        """Send a task again, now that the values which it missed are here, unless it was cancelled meanwhile.

        Parameters
        ----------
        future
            The task's future.
        task
            The task.
        """
        messages: list[ClientMessage] = []
        self.add_task(messages, future, task)
        with future._lock:  # a cancel after this follows the task; one before is answered already
            if future.state is TaskState.CANCELLING or future.done():
                messages = [each for each in messages if each is not task]
            self._agent.enqueue(OutgoingBatch(*messages))

    def resend_missing(self, messages: Sequence[EngineMessage]) -> Sequence[EngineMessage]:
        """Send again each task that lacks only values of this client's futures; return the messages of the others.

        On the agent's thread.
        """
        return [message for message in messages if not self._resend_if_missing(message)]

    def _resend_if_missing(self, message: EngineMessage) -> bool:
        """Send the task of a message again once its inputs have ended; False if the message says something else."""
        if not isinstance(message, TaskResult) or message.outcome is not TaskResultType.MISSING_OBJECTS:
            return False
        future = self._manager.find(message.task_id)
        if future is None or future.task is None:
            return False
        named = [future.inputs.get(name) for name in missing_objects(message.payload)]
        lacking = [each for each in named if isinstance(each, ScalerFuture) and not each.retained_by_engine]
        if len(lacking) < len(named):
            return False
        # On a thread of its own: pickling may run the user's code.
        again = partial(callback_thread.inputs.post, partial(self._resend, future, future.task))
        self._resends[future] = self._resends.get(future, 0) + 1
        # Each input may end once while the task is on its way; all other times the engine was sent the value.
        refusals = self._resends[future] - len(future.inputs)
        if refusals > MAX_REFUSALS:
            return False
        if refusals > 0:
            self._agent.call_at(time.monotonic() + backoff(refusals), again)
        else:
            _WhenAllDone(lacking, again)
        return True


class _WhenAllDone:
    """A watcher of several futures that calls ``then()`` once, when all of them have ended.

    Parameters
    ----------
    futures
        The futures.
    then
        Called on the thread that has ended the last future; must not block.
    """

    def __init__(self, futures: Sequence[ScalerFuture[object]], then: Callable[[], object]) -> None:
        self._left = set(futures)
        self._then = then
        self._mutex = threading.Lock()
        for future in futures:
            future.watch(self)
            self(future)

    def __call__(self, future: ObservedTask) -> None:
        """Note the end of a future; called after each change."""
        if not future.done():
            return
        future.unwatch(self)
        with self._mutex:
            last = self._left == {future}
            self._left.discard(future)
        if last:
            self._then()


def _result_of_failed_input(task: Task, needed: ScalerFuture[object]) -> TaskResult | TaskCancelConfirm | None:
    """Return the message that ends a task whose input failed or was cancelled; None if the input has a value.

    Parameters
    ----------
    task
        The task that needs the value.
    needed
        The input's future, which has ended.
    """
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
