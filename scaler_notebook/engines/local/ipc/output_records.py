"""The file of records beside a task's two streams: its form, which the task process writes and the scheduler reads."""

import os
import struct
import tempfile
from typing import TypeAlias

from scaler_notebook.protocol.messages import DisplayKind, LogStream

# Index of its kind; lengths of display id, bundle and metadata, which follow it; the number of its mark.
RECORD = struct.Struct("=IIIIQ")
RecordKind: TypeAlias = LogStream | DisplayKind
KINDS: tuple[RecordKind, ...] = (*LogStream, *DisplayKind)  # a stream: Python's output turns to it


def anonymous_file(name: str) -> int:
    """A descriptor of a file without a name: in memory where there is ``memfd_create``, else on disk."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC)
    fd, path = tempfile.mkstemp(prefix=name)
    os.unlink(path)
    return fd
