"""Tasks that fail or exit, and one that ends in another way at each try."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def append(path: Path, line: str) -> None:
    """Write a line at the end of a file."""
    with open(path, "a") as file:
        file.write(line + "\n")


def tries(trace: Path, *ends: Callable[[], Any]) -> Any:
    """Leave a line for each try, and end each in its way; the last way is that of all later ones too."""
    append(trace, "try")
    number = len(trace.read_text().splitlines())
    print(f"this is try {number}", flush=True)
    return ends[min(number, len(ends)) - 1]()


def fails() -> None:
    """Raise."""
    raise ValueError("it never works")


def exits() -> None:
    """End the process."""
    os._exit(3)
