"""The way of calls from the thread that submits them to the agent: as tasks, after the context that they run in."""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from scaler_notebook.client.agent.client_agent import Agent
from scaler_notebook.client.agent.input_values import InputValues
from scaler_notebook.client.agent.outgoing_queue import OutgoingBatch
from scaler_notebook.client.context.context_tracker import ContextTracker
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.submission.call_pickling import PickledCall
from scaler_notebook.client.task_state.observed_task import NO_INPUTS
from scaler_notebook.client.waiting.locks import call_locked
from scaler_notebook.engines.base import Engine
from scaler_notebook.protocol.messages import Initializer, ObjectCreate, ObjectDelete, Task, TaskOptions
from scaler_notebook.protocol.twins import maker

from . import nested
from .lifetime import Lifetime

_new_task = maker(Task)


class TaskSender:
    """The sender of one session's tasks.

    Parameters
    ----------
    engine
        Takes over the tasks' buffers.
    agent
        Sends the messages.
    input_values
        Sends the values of futures that are arguments.
    lifetime
        Ends the futures that come too late.
    """

    def __init__(self, engine: Engine, agent: Agent, input_values: InputValues, lifetime: Lifetime) -> None:
        self._engine = engine
        self._agent = agent
        self._input_values = input_values
        self._lifetime = lifetime
        self._mutex = threading.RLock()  # a signal handler of the user's may submit within a submit
        self._context = ContextTracker(Initializer())

    def set_initializer(self, initializer: Initializer | None, client: str) -> None:
        """Set what comes before the first task in each process; the engine is started, and has no task yet.

        Parameters
        ----------
        initializer
            The initializer; None for none.
        client
            The name that the ids of the client's tasks begin with.
        """
        if initializer is not None:
            task, _ = self._engine.adopt(Task(f"{client}-0", initializer.function, initializer.arguments))
            initializer = replace(initializer, client=client, function=task.function, arguments=task.arguments)
            self._context = ContextTracker(initializer)

    def new_task(
        self,
        future: ScalerFuture[Any],
        call: PickledCall,
        options: TaskOptions,
        retain: bool = False,
        returns_value: bool = True,
    ) -> Task:
        """Return a call as a task, for :meth:`submit`, and note on its future what the call refers to.

        Parameters
        ----------
        future
            The future of the task.
        call
            The pickled call.
        options
            The options of the task.
        retain
            Whether the engine retains the value, for tasks that are still to be sent, until it is released.
        returns_value
            Whether the value comes to this process.
        """
        future.proxies, future.inputs = call.proxies, call.inputs or NO_INPUTS
        if options.timeout:
            future.deadline = time.monotonic() + options.timeout
        if options.run_timeout:
            future.run_timeout = options.run_timeout
        within = nested.parent_task(self._engine.address)
        named = tuple(call.inputs)
        return _new_task(
            future.task_id, call.function, call.arguments, options, named, retain, not returns_value, within
        )

    def submit(self, tasks: Iterable[tuple[ScalerFuture[Any], Task]], release: Sequence[str] = ()) -> None:
        """Send tasks, then release values; the tasks' futures end in every case.

        All of it is handed to the agent at once: an interrupt, or an error, either leaves it unknown to everybody, or
        comes too late to stop any of it.

        Parameters
        ----------
        tasks
            Pairs of a future and its task.
        release
            The ids of tasks whose values were retained, and can be named no more after these tasks.
        """
        batch: OutgoingBatch[ScalerFuture[Any]] = OutgoingBatch()
        try:
            for future, task in tasks:
                batch.futures.append(future)
                task, future.task = self._engine.adopt(task)
                if not task.inputs:
                    batch.messages.append(task)
                elif not self._input_values.add_task(batch.messages, future, task):
                    self._engine.disown(task.task_id)
            if release:
                batch.messages.append(ObjectDelete(tuple(release)))
            call_locked(self._mutex, self._enqueue, batch)
        except BaseException:
            if not self._agent.outgoing.has_accepted(batch):
                self._disown(batch)
            raise
        if not self._lifetime.alive:  # lost or closed meanwhile, perhaps before these futures were queued
            self._lifetime.end_unfinished()

    def _enqueue(self, batch: OutgoingBatch[ScalerFuture[Any]]) -> None:
        """Hand a batch to the agent, after what has changed of the context. With the mutex held.

        A change that one thread notices must be on its way before any thread's next task.
        """
        context, seen = self._context.changes()
        if context is not None:
            batch.messages.insert(0, context)
        self._agent.enqueue(batch)
        self._context.mark_sent(seen)

    def _disown(self, batch: OutgoingBatch[ScalerFuture[Any]]) -> None:
        """Free the memory that the engine has taken over for a batch which was never queued."""
        for message in batch.messages:
            if isinstance(message, ObjectCreate):
                self._engine.disown(message.object_id)
        for future in batch.futures:
            self._engine.disown(future.task_id)
