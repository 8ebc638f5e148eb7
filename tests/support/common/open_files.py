"""What another process has open."""

import contextlib
import os


def open_files(pid: int) -> list[str]:
    """Return what a process's descriptors stand for, without those that it closes meanwhile."""
    found: list[str] = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found
