"""What a case costs at least on this machine: bare pipes, shared memory and zmq, with nothing that manages tasks."""

from __future__ import annotations

from collections.abc import Callable

from ..outcome import Outcome
from ..sizes import Sizes
from . import pipe, zmq_router

Floor = Callable[[Sizes], Outcome]

FLOORS: dict[str, dict[str, Floor]] = {"pipe": pipe.MEASURED, "zmq": zmq_router.MEASURED}
TITLES = {"pipe": "floor: pipe, shared memory", "zmq": "floor: zmq router"}
