"""How a client asks a running task to stop, and no more than that.

Scaler's cancel has no such request: without force it is refused while a task runs, with force it kills. But its object
storage keeps a ``get`` waiting until there is such an object. So each worker process of ours waits for one of a name
that it has told the clients of its tasks; who wants a task to stop writes its name
(:func:`~scaler_notebook.engines.scaler.wire.task_names.name_of`) there.
"""

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


class CancelMailbox:
    """Has a thread of its own, which ends with the process.

    Parameters
    ----------
    storage
        A synchronous connector of Scaler's to its object storage, which nobody else uses.
    ask
        Called with the name of the task that shall stop, on that thread.
    moved
        Called when the name has changed: each is good for one letter.
    """

    def __init__(self, storage: Any, ask: Callable[[str], None], moved: Callable[[], None]) -> None:
        self._storage, self._ask, self._moved = storage, ask, moved
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
                letter = bytes(self._storage.get_object(name))
                self._rename()
                self._moved()
                self._ask(letter.decode(errors="replace"))
                self._storage.delete_object(name)
        except Exception as problem:  # the storage is gone, and so, soon, is this worker; who asks is refused meanwhile
            log.debug("nobody can ask tasks of this process to stop any more: %s", problem)
            self.name = ""
