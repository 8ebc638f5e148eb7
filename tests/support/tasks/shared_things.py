"""What tasks share with later tasks of their process, and, where an engine runs in this process, with the test.

A task that names this module finds the process's own copy of these; what a test's module has would travel with it.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any

left: list[Any] = []  # by one task for the next
said: SimpleQueue[str] = SimpleQueue()  # by tasks to the test
gates: dict[str, threading.Event] = {}  # that the test opens


def wait_at_gate(name: str, timeout: float) -> bool:
    """Has the gate been opened, within so many seconds?"""
    return gates[name].wait(timeout)
