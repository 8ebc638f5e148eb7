"""What an OpenGRIS Scaler cluster does through its own client, and through ours.

``python benchmarks/clusters.py [rounds]``, with the packages of ``make test``.

A cluster of two workers on this machine; each round has both clients take turns at every case, so that the machine's
mood is the same for both. Medians; the ratio counts, for machines differ.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import scaler

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
sys.path[:0] = [str(SUPPORT / name) for name in ("common", "engines")]

from scaler_cluster import ScalerCluster  # noqa: E402

import scaler_notebook  # noqa: E402

BEGIN = 1.5  # seconds until a task surely runs; Scaler's client is not told


def loop() -> None:
    """Runs until it is stopped."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass


def sleep(seconds: float) -> None:
    """``time.sleep``, whose signature Scaler's client asks for and does not find."""
    time.sleep(seconds)


def add(a: int, b: int) -> int:
    """Nearly nothing."""
    return a + b


def timed(call: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def cancel_running(client: Any, function: Callable[..., Any], *args: Any) -> float:
    """Of one task, until it is confirmed."""
    future = client.submit(function, *args)
    time.sleep(BEGIN)
    seconds = timed(future.cancel)
    assert future.cancelled()
    return seconds


def cancel_queued(client: Any) -> float:
    """Of 200 behind two that run, until all of them are confirmed."""
    running = [client.submit(sleep, 60) for _ in range(2)]
    queued = [client.submit(add, 1, n) for n in range(200)]
    time.sleep(BEGIN)
    ours = isinstance(client, scaler_notebook.Client)
    group = scaler_notebook.FutureGroup(queued) if ours else None
    seconds = timed(lambda: group.cancel() if group is not None else [each.cancel() for each in queued])
    assert all(each.cancelled() for each in queued)
    for each in running:
        each.cancel()
    return seconds


def submit_many(client: Any) -> list[Any]:
    """1,000 calls, all different."""
    return [client.submit(add, n, 1) for n in range(1000)]


def round_trip(client: Any) -> float:
    """Of a call that differs from the one before."""
    return statistics.median(timed(lambda n=n: client.submit(add, n, n).result()) for n in range(50))  # type: ignore[misc]


def throughput(client: Any) -> float:
    """1,000 calls, from the first submit to the last result."""
    return timed(lambda: [future.result() for future in submit_many(client)])


CASES: dict[str, Callable[[Any], float]] = {
    "round trip of a small call": round_trip,
    "1,000 small calls": throughput,
    "cancel a running Python loop": lambda client: cancel_running(client, loop),
    "cancel a running time.sleep": lambda client: cancel_running(client, sleep, 60),
    "cancel 200 queued, all confirmed": cancel_queued,
}


def main() -> None:
    """Print a table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    seconds: dict[tuple[str, str], list[float]] = {}
    with ScalerCluster(workers=2) as cluster:
        for number in range(rounds):
            kinds = ["ours", "Scaler's"]
            for kind in kinds if number % 2 else reversed(kinds):
                ours = kind == "ours"
                address = cluster.address if ours else cluster.address.replace("scaler://", "tcp://")
                make = scaler_notebook.Client if ours else scaler.Client
                with make(address) as client:
                    for _ in range(10):  # until both workers are warm
                        client.submit(add, 1, 1).result()
                    for case, measure in CASES.items():
                        seconds.setdefault((case, kind), []).append(measure(client))
                        time.sleep(BEGIN)  # the workers' new processes start
    print("| case | ours | Scaler's client | ratio |\n| --- | --- | --- | --- |")
    for case in CASES:
        mine, other = (1e3 * statistics.median(seconds[case, kind]) for kind in ("ours", "Scaler's"))
        print(f"| {case} | {mine:,.1f} ms | {other:,.1f} ms | {mine / other:.2f} |")


if __name__ == "__main__":
    main()
