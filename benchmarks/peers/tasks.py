"""The functions that run as tasks. Every worker can import this module, so that they are pickled by reference."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_made: dict[int, Array] = {}


def nothing(value: Any = None) -> Any:
    """Give back what was given."""
    return value


def nap(seconds: float) -> int:
    """Sleep, and give the id of the process."""
    time.sleep(seconds)
    return os.getpid()


def sleep_on(path: str, seconds: float) -> None:
    """Write the id of the process to a file, and sleep.

    Parameters
    ----------
    path
        The file.
    seconds
        How long it sleeps.
    """
    _note_process(path)
    time.sleep(seconds)


def loop_on(path: str, seconds: float) -> None:
    """Write the id of the process to a file, and run a Python loop.

    Parameters
    ----------
    path
        The file.
    seconds
        How long it runs.
    """
    _note_process(path)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def die(path: str) -> None:
    """Add a line to a file, and kill the process."""
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def take(array: Array) -> int:
    """Read both ends of an array; gives the bytes that it has."""
    return array.nbytes if array[0] + array[-1] >= 0 else -1


def give(numbers: int) -> Array:
    """Give an array, made at the first call of a process: later calls cost its way alone."""
    if numbers not in _made:
        _made[numbers] = np.random.default_rng(0).random(numbers)
    return _made[numbers]


def echo(array: Array) -> Array:
    """Give back an array."""
    return array


def _note_process(path: str) -> None:
    unfinished = Path(f"{path}.{os.getpid()}")
    unfinished.write_text(str(os.getpid()))
    unfinished.rename(path)
