"""A caller, a process that routes and workers, on zmq's Unix sockets: what a scheduler between costs at least."""

from __future__ import annotations

import multiprocessing
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle
import zmq

from .. import tasks
from ..cases.arrays import new_arrays
from ..cases.support import now, quantile
from ..outcome import Outcome
from ..peer import WORKERS
from ..sizes import Sizes
from .pipe import Call

HELLO, COUNT, CALLS, TAKE, ECHO = b"hello", b"count", b"calls", b"take", b"echo"


def route(front: str, back: str) -> None:
    """Send each message of the caller to the next worker, and each answer back: the life of the router.

    Parameters
    ----------
    front
        The address at which the caller connects.
    back
        The address at which workers connect.
    """
    context = zmq.Context()
    clients, workers = _socket(context, zmq.ROUTER), _socket(context, zmq.ROUTER)
    clients.bind(front)
    workers.bind(back)
    poller = zmq.Poller()
    poller.register(clients, zmq.POLLIN)
    poller.register(workers, zmq.POLLIN)
    known: list[bytes] = []
    caller, turn = b"", 0
    while True:
        for socket, _ in poller.poll():
            try:
                while True:
                    sender, kind, *rest = socket.recv_multipart(zmq.NOBLOCK, copy=False)
                    if socket is workers:
                        if kind.bytes == HELLO:
                            known.append(sender.bytes)
                        else:
                            clients.send_multipart([caller, kind, *rest], copy=False)
                    elif kind.bytes == COUNT:
                        clients.send_multipart([sender.bytes, b"%d" % len(known)])
                    else:
                        caller, turn = sender.bytes, turn + 1
                        workers.send_multipart([known[turn % len(known)], kind, *rest], copy=False)
            except zmq.Again:
                continue


def serve(back: str) -> None:
    """Run the calls that arrive: the life of a worker."""
    socket = _socket(zmq.Context(), zmq.DEALER)
    socket.connect(back)
    socket.send(HELLO)
    while True:
        kind, content = socket.recv_multipart(copy=False)
        if kind.bytes == TAKE:
            socket.send(b"%d" % len(content.buffer))
        elif kind.bytes == ECHO:
            socket.send(content, copy=False)
        else:
            values = [function(*args) for function, args in pickle.loads(content.buffer)]
            socket.send(pickle.dumps(values, 5))


def _socket(context: zmq.Context[zmq.Socket[bytes]], kind: int) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.set_hwm(0)
    return socket


class Route:
    """A router and its workers, seen by the caller."""

    def __init__(self, workers: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        directory = tempfile.mkdtemp()
        front, back = f"ipc://{directory}/f", f"ipc://{directory}/b"
        spawn.Process(target=route, args=(front, back), daemon=True).start()
        for _ in range(workers):
            spawn.Process(target=serve, args=(back,), daemon=True).start()
        self.socket = _socket(zmq.Context.instance(), zmq.DEALER)
        self.socket.connect(front)
        while True:
            self.socket.send(COUNT)
            if self.socket.recv() == b"%d" % workers:
                return
            time.sleep(0.01)

    def send(self, calls: Sequence[Call]) -> None:
        """Send calls."""
        self.socket.send_multipart([CALLS, cloudpickle.dumps(calls)])

    def receive(self, flags: int = 0) -> list[Any]:
        """Take the results of one message; zmq.Again if ``flags`` say not to wait and there are none."""
        values: list[Any] = pickle.loads(self.socket.recv(flags))
        return values


def measure_round_trip(sizes: Sizes) -> Outcome:
    """One worker, calls one at a time."""
    way, seconds = Route(1), []
    for n in range(sizes.round_trips + 50):
        began = now()
        way.send([(tasks.nothing, (n,))])
        way.receive()
        seconds.append(now() - began)
    counted = seconds[50:]
    return Outcome({"round_trip": statistics.median(counted), "round_trip_p99": quantile(counted, 0.99)})


def measure_submit(sizes: Sizes) -> Outcome:
    """All calls sent, results taken between them."""
    submitted, total = _pipelined(sizes.tasks, 1)
    return Outcome({"submit": submitted, "submit_rate": sizes.tasks / total})


def measure_map(sizes: Sizes) -> Outcome:
    """The same, several calls in a message."""
    _, total = _pipelined(sizes.tasks, sizes.chunk)
    return Outcome({"map_chunks_rate": sizes.tasks / total})


def _pipelined(calls: int, chunk: int) -> tuple[float, float]:
    """Seconds until the last call is sent, and until the last result is there."""
    way = Route(WORKERS)
    values: list[Any] = []
    began = now()
    for first in range(0, calls, chunk):
        way.send([(tasks.nothing, (n,)) for n in range(first, min(first + chunk, calls))])
        try:
            while first // chunk % 64 == 0:
                values += way.receive(zmq.NOBLOCK)
        except zmq.Again:
            continue
    submitted = now() - began
    while len(values) < calls:
        values += way.receive()
    total = now() - began
    assert sorted(values) == list(range(calls))
    return submitted, total


def measure_arrays(sizes: Sizes) -> Outcome:
    """An array as one frame, without pickling."""
    outcome = Outcome()
    way = Route(1)
    for name, megabytes, repeats in (
        ("small", sizes.small_mb, sizes.small_repeats),
        ("large", sizes.large_mb, sizes.large_repeats),
    ):
        for what, kind in ("in", TAKE), ("echo", ECHO):
            seconds = []
            for array in new_arrays(megabytes, repeats + 1):
                began = now()
                way.socket.send_multipart([kind, array.data.cast("B")], copy=False)
                way.socket.recv(copy=False)
                seconds.append(now() - began)
            outcome.figures[f"{name}_{what}"] = statistics.median(seconds[1:])
    return outcome


MEASURED: dict[str, Callable[[Sizes], Outcome]] = {
    "round_trip": measure_round_trip,
    "submit": measure_submit,
    "map": measure_map,
    "arrays": measure_arrays,
}
