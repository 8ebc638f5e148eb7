"""The private directory of an engine that a client starts: socket, log, connection file, and the link to the socket."""

import contextlib
import os
import tempfile
from pathlib import Path

from scaler_notebook.engines.local.client import addresses
from scaler_notebook.engines.local.ipc.runtime_directory import SOCKET, remove_engine, write_namespace

LOG_TAIL = 2000  # characters of the scheduler's log that an error quotes


class EngineDirectory:
    """One engine's directory, which is made here.

    Parameters
    ----------
    base
        The user's directory for engines.
    link
        The path that the user has chosen for the socket; empty for none.

    Raises
    ------
    OSError
        The directory cannot be made.
    """

    def __init__(self, base: Path, link: str) -> None:
        self._base = base
        self._link = link
        self.path = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=base))

    def prepare(self) -> None:
        """Note the process namespace, and claim the path that the user has chosen.

        Raises
        ------
        EngineStartError
            The path is in use, or no link can be made there.
        OSError
            The directory cannot be written to.
        """
        write_namespace(self.path)
        if self._link:
            addresses.claim(self._link, str(self.path / SOCKET), self._base)

    @property
    def log(self) -> Path:
        """The file that the scheduler's standard output and error go to."""
        return self.path / "log"

    def log_tail(self) -> str:
        """Return the last lines of the log, ready to be put behind an error; empty if there are none."""
        with contextlib.suppress(OSError):
            text = self.log.read_text(errors="replace").strip()[-LOG_TAIL:]
            return f" Its log ends:\n{text}" if text else ""
        return ""

    def remove(self) -> None:
        """Remove the directory, and the link if it still leads here."""
        remove_engine(self.path, self._link)
