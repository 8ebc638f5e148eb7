"""Cancel requests for a running task: the way by which a client asks a task to stop.

Scaler's cancel has no such request: without force it is refused while a task runs, with force it kills. But Scaler's
object storage keeps a ``get`` waiting until the object exists. So each worker process waits for an object whose id it
has told the clients of its tasks, and a client that wants a task to stop stores the task's name
(:func:`~scaler_notebook.engines.scaler.wire.task_names.name_of`) under that id.
"""

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


class CancelMailbox:
    """A mailbox for cancel requests, with a thread that waits for them and ends with the process.

    Parameters
    ----------
    storage
        A synchronous connector of Scaler's to the object storage, for the mailbox alone.
    on_request
        Called on the mailbox's thread with the name of the task that shall stop.
    on_new_id
        Called when the mailbox has a new id: each id is good for one request.
    """

    def __init__(self, storage: Any, on_request: Callable[[str], None], on_new_id: Callable[[], None]) -> None:
        self._storage, self._on_request, self._on_new_id = storage, on_request, on_new_id
        self.name = ""
        self._rename()
        threading.Thread(target=self._wait, name="scaler_notebook mailbox", daemon=True).start()

    def _rename(self) -> None:
        self.name = os.urandom(32).hex()

    def _wait(self) -> None:
        from scaler.utility.identifiers import ObjectID

        try:
            while True:
                name = ObjectID(bytes.fromhex(self.name))
                request = bytes(self._storage.get_object(name))
                self._rename()
                self._on_new_id()
                self._on_request(request.decode(errors="replace"))
                self._storage.delete_object(name)
        except Exception as problem:  # the storage is gone, and soon this worker too; cancel requests get refused
            log.debug("nobody can ask tasks of this process to stop any more: %s", problem)
            self.name = ""
