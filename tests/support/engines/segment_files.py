"""Segments as tests see them: of a task with one array, and among the files that are open."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from open_files import open_files

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.messages import Payload, SegmentRef, Task

Array = np.ndarray[Any, Any]


def task_of(task_id: str, array: Array) -> Task:
    return Task(task_id, Payload(b""), payloads.dump(array))


def ref_of(task: Task) -> SegmentRef:
    (ref,) = task.arguments.buffers
    assert isinstance(ref, SegmentRef)
    return ref


def memory_files() -> int:
    return sum("memfd:segment" in file for file in open_files(os.getpid()))


def file_of(array: Array) -> tuple[str, str]:
    """Return the inode of the file that an array is mapped from, "0" for none, and how."""
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, how, _, _, inode = line.split()[:5]
        first, end = (int(each, 16) for each in addresses.split("-"))
        if first <= address < end:
            return inode, how
    return "0", ""
