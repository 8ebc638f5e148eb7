"""Initializers and tasks for ``test_standard``, in a module that task processes import in no time."""

from __future__ import annotations

import os
import time
from typing import Any

calls: list[Any] = []  # in a task process


def remember(*values: Any) -> None:
    """An initializer that succeeds."""
    print("initialized")
    calls.append(values)


def remembered() -> tuple[int, list[Any]]:
    """``(process id, what initializers were given there)``."""
    time.sleep(0.02)  # so that both processes take part
    return os.getpid(), calls


def numbered(n: int) -> tuple[int, int, int]:
    """``(n, process id, how many initializers ran there)``."""
    return n, os.getpid(), len(calls)


def broken(path: str) -> None:
    """An initializer that raises."""
    print("tries")
    raise FileNotFoundError(f"no data in {path}")


def first_alone(path: str) -> None:
    """An initializer that raises in every process but the first."""
    with open(path, "x"):
        pass


def endless() -> None:
    """An initializer that does not end, and swallows interrupts."""
    print("begun", flush=True)
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            print("refuses")
