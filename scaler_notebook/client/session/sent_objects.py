"""Objects that were sent to the engine once, for any number of tasks."""

from collections.abc import Callable
from typing import Any

from scaler_notebook.client.agent.client_agent import Agent
from scaler_notebook.client.agent.outgoing_queue import OutgoingBatch
from scaler_notebook.client.task_state.references import ObjectReference, TaskInput
from scaler_notebook.engines.base import Engine
from scaler_notebook.protocol.errors import MissingObjects
from scaler_notebook.protocol.messages import ObjectCreate, ObjectDelete, Payload


class SentObjects:
    """The objects of one session.

    Parameters
    ----------
    engine
        The engine, which keeps the objects.
    agent
        Sends the messages.
    new_id
        Makes an id for an object.
    """

    def __init__(self, engine: Engine, agent: Agent, new_id: Callable[[], str]) -> None:
        self._engine = engine
        self._agent = agent
        self._new_id = new_id
        self._references: dict[str, ObjectReference] = {}  # that were not cleared, by id

    def send(self, content: Payload, name: str, proxies: tuple[Any, ...] = ()) -> ObjectReference:
        """Send an object; the reference to it is good until :meth:`clear`, or the end of the session.

        Parameters
        ----------
        content
            The pickled object.
        name
            What a person reads of the object; its id if empty.
        proxies
            The proxies of managers in the object, which its reference keeps alive.
        """
        object_id = self._new_id()
        reference = ObjectReference(name or object_id, content.nbytes, object_id, proxies)
        batch: OutgoingBatch[Any] = OutgoingBatch()
        try:
            batch.messages.append(ObjectCreate(object_id, self._engine.adopt_object(object_id, content)))
            self._references[object_id] = reference
            self._agent.enqueue(batch)
        except BaseException:
            if not self._agent.outgoing.has_accepted(batch):
                self._references.pop(object_id, None)
                self._engine.disown(object_id)
            raise
        return reference

    def check(self, reference: TaskInput, call: str) -> None:
        """Raise a :class:`MissingObjects` if the engine does not have an object.

        Parameters
        ----------
        reference
            Refers to the object.
        call
            The call that needs the object, as a person reads it.
        """
        if reference.input_id not in self._references:
            raise MissingObjects(
                f"an argument of {call} refers to {reference!r}, which this client's engine does not have: it was "
                "cleared, or it is another client's, or its engine has ended. Send it again with send_object()",
                (reference.input_id,),
            )

    def clear(self) -> None:
        """Make all references useless; tasks that were submitted with one still find its object."""
        cleared, self._references = self._references, {}
        self._agent.post(ObjectDelete(tuple(cleared)))
