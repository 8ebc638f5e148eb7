"""System calls of a submit that keep the interpreter's lock.

Python's own functions give the lock up around each system call. Within a submit that hands it to the agent's thread
after every task: the agent sends this one alone, and the two threads wait for the lock in turn. The calls here return
at once, whatever the machine does. Where the C library cannot be called like that, Python's functions take their place.
"""

import os
from collections.abc import Callable
from typing import Any

_last = b"", ""  # the last working directory, as it came and as a text: one tuple, which threads read at once
_LONGEST = 4096  # bytes of a path; for a longer one Python's function is asked

try:
    import ctypes

    _library: Any = ctypes.PyDLL(None)
    _getcwd: Callable[..., Any] | None = _library.getcwd
    _library.getcwd.restype, _library.getcwd.argtypes = ctypes.c_char_p, (ctypes.c_char_p, ctypes.c_size_t)
    _buffer: Any = ctypes.create_string_buffer(_LONGEST)
    _write: Callable[..., Any] | None = _library.write
    _library.write.restype = ctypes.c_ssize_t
    _library.write.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)
except (ImportError, OSError, TypeError, AttributeError):  # Windows; a Python without ctypes
    _getcwd = _write = _buffer = None


def working_directory() -> str:
    """Return what ``os.getcwd`` does.

    Raises
    ------
    FileNotFoundError
        The directory was removed.
    """
    global _last
    # All threads share the buffer: the call itself returns a copy of what it has put there, before any of them goes on.
    path = _getcwd(_buffer, _LONGEST) if _getcwd is not None else None
    if not path:
        return os.getcwd()
    last, decoded = _last
    if path != last:
        decoded = os.fsdecode(path)
        _last = path, decoded
    return decoded


class WakingPipe:
    """A pipe that becomes readable when any thread calls :meth:`wake`; where no C library is, that does nothing."""

    def __init__(self) -> None:
        self.receiver: int | None = None
        if _write is None:
            return
        self.receiver, sender = os.pipe()
        os.set_blocking(self.receiver, False)
        os.set_blocking(sender, False)
        # Read by the call that writes: so a thread cannot write to a descriptor that :meth:`close` has just given back.
        self._sender = ctypes.c_int(sender)

    def wake(self) -> bool:
        """Make the pipe readable; return False if that could not be done. Any thread may call this; it never blocks."""
        return self.receiver is not None and _write is not None and _write(self._sender, b"\0", 1) == 1

    def drain(self) -> None:
        """Take what was written, so that the pipe is no longer readable."""
        if self.receiver is not None:
            os.read(self.receiver, 4096)

    def close(self) -> None:
        """Close the pipe; :meth:`wake` returns False from now on."""
        if self.receiver is not None:
            receiver, self.receiver = self.receiver, None
            sender, self._sender.value = self._sender.value, -1
            os.close(sender)
            os.close(receiver)
