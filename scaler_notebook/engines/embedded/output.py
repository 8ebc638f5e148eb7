"""Where a task process writes: a file in memory behind its stdout or stderr, which the scheduler reads as it grows.

A file, not a pipe: what a killed process wrote is still there, a task that prints faster than we read is never
blocked by us, and nothing is mixed up when a subprocess of the task writes too (``O_APPEND``).
"""

import codecs
import fcntl
import os
import tempfile

MAX_TASK_OUTPUT = 16 * 1024 * 1024  # bytes forwarded per task and stream; what follows is dropped, and said so
READ = 256 * 1024  # bytes per read


def anonymous_file(name: str) -> int:
    """A descriptor of a file without a name: in memory where there is ``memfd_create``, else on disk."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC)
    fd, path = tempfile.mkstemp(prefix=name)
    os.unlink(path)
    return fd


class OutputFile:
    """One stream of one task process."""

    def __init__(self) -> None:
        self.fd = anonymous_file("output")
        fcntl.fcntl(self.fd, fcntl.F_SETFL, os.O_APPEND)
        self._read = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def new_text(self) -> str:
        """What was written since the last call, up to the bound."""
        end = os.fstat(self.fd).st_size
        if end <= self._read:
            return ""
        parts = []
        limit = min(end, MAX_TASK_OUTPUT)
        while self._read < limit:
            data = os.pread(self.fd, min(READ, limit - self._read), self._read)
            if not data:
                break
            self._read += len(data)
            parts.append(self._decoder.decode(data))
        if end > MAX_TASK_OUTPUT and self._read >= MAX_TASK_OUTPUT:
            parts.append(f"\n[output beyond {MAX_TASK_OUTPUT >> 20} MB is dropped]\n")
            self._read = 1 << 62  # said once
        return "".join(parts)

    def start_over(self) -> None:
        """Forget what was written; the next task begins at zero."""
        if self._read or os.fstat(self.fd).st_size:
            os.ftruncate(self.fd, 0)
            self._read = 0
            self._decoder.reset()

    def close(self) -> None:
        """Free the memory, once the process has closed its side too."""
        os.close(self.fd)
