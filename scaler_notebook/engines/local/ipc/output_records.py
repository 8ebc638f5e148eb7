"""The form of the records that a task process writes, and the scheduler reads, beside the task's two streams."""

import os
import struct
import tempfile
from typing import TypeAlias

from scaler_notebook.protocol.messages import DisplayKind, LogStream

# Index of the kind; lengths of display id, bundle and metadata, which follow the header; number of the mark.
RECORD = struct.Struct("=IIIIQ")
RecordKind: TypeAlias = LogStream | DisplayKind
KINDS: tuple[RecordKind, ...] = (*LogStream, *DisplayKind)  # a stream: Python writes to that one from now on


def anonymous_file(name: str) -> int:
    """Open a file without a path, in memory where there is ``memfd_create``, else on disk; returns the descriptor."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC)
    fd, path = tempfile.mkstemp(prefix=name)
    os.unlink(path)
    return fd
