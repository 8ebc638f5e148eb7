"""The stop button (Ctrl-C) while something waits for tasks: the wait ends at once, ``on_interrupt`` does the rest."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from waits import SAFETY

from scaler_notebook import NotebookExecutor, ScalerFuture, TaskState, as_completed, wait
from scaler_notebook.client.waiting.host import PlainHost, current_host, install_host
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.testing import InMemoryExecutor, memory_executor


class InterruptedHost(PlainHost):
    """Every wait is ended by the stop button."""

    def __init__(self) -> None:
        self.offered: list[Any] = []

    def wait(self, signal: Signal, timeout: float | None) -> bool:
        raise KeyboardInterrupt

    def offer_cancel(self, futures: Sequence[Any]) -> None:
        self.offered += futures


@pytest.fixture
def host() -> Iterator[InterruptedHost]:
    before, interrupted = current_host(), InterruptedHost()
    install_host(interrupted)
    yield interrupted
    install_host(before)


Futures = list[ScalerFuture[Any]]
WAITS: dict[str, Callable[[InMemoryExecutor, Futures], Any]] = {
    "result": lambda ex, futures: futures[0].result(),
    "exception": lambda ex, futures: futures[0].exception(),
    "wait": lambda ex, futures: wait(futures),
    "as_completed": lambda ex, futures: list(as_completed(futures)),
    "map": lambda ex, futures: list(ex.map(abs, [1, 2])),
    "group.wait": lambda ex, futures: ex.map_async(abs, [1, 2]).wait(),
    "group.results": lambda ex, futures: ex.map_async(abs, [1, 2]).results(),
}
WAITED_FOR = {"result": 1, "exception": 1}


@pytest.mark.parametrize("policy", ["ask", "cancel", "leave"])
@pytest.mark.parametrize("way", WAITS)
def test_what_becomes_of_the_tasks(way: str, policy: str, host: InterruptedHost) -> None:
    with memory_executor() as executor:
        executor.policy.on_interrupt = policy  # type: ignore[assignment]
        submitted = [executor.submit(abs, -1), executor.submit(abs, -2)]
        with pytest.raises(KeyboardInterrupt):
            WAITS[way](executor, submitted)
        futures = executor.unfinished()
        waited_for = futures[: WAITED_FOR[way]] if way in WAITED_FOR else futures[-2:]
        wanted = TaskState.CANCELLING if policy == "cancel" else TaskState.SUBMITTED
        assert {future.state for future in waited_for} == {wanted}
        others = {future.state for future in futures if future not in waited_for}
        assert others <= {TaskState.SUBMITTED}, "nobody waited for these"
        assert set(host.offered) == (set(waited_for) if policy == "ask" else set())


def test_a_wait_for_an_answer_leaves_the_cancel_under_way(host: InterruptedHost) -> None:
    with memory_executor() as executor:
        future = executor.submit(abs, -1)
        with pytest.raises(KeyboardInterrupt):
            future.cancel()
        assert future.state is TaskState.CANCELLING


def test_a_policy_is_checked() -> None:
    with pytest.raises(ValueError, match="'ask', 'cancel', 'leave'"):
        NotebookExecutor(on_interrupt="panic")  # type: ignore[arg-type]
    executor = NotebookExecutor(on_interrupt="leave", grace=2.5)
    assert (executor.on_interrupt, executor.grace) == ("leave", 2.5)
    executor.on_interrupt, executor.grace = "cancel", 3
    assert (executor.policy.on_interrupt, executor.policy.grace) == ("cancel", 3)
    with pytest.raises(ValueError, match="at least 0"):
        executor.grace = -1


SCRIPT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from scaler_notebook import NotebookExecutor
from scaler_notebook.client.waiting import host
class Host(host.PlainHost):
    def wait(self, signal, timeout):
        print("waiting", flush=True)  # and not earlier: an interrupt before the wait is the script's own affair
        return super().wait(signal, timeout)
with NotebookExecutor(n_workers=1, on_interrupt=sys.argv[1]) as executor:
    future = executor.submit(time.sleep, float(sys.argv[2]))
    while future.state.value != "running": time.sleep(0.001)
    plain = host.current_host()
    try:
        host.install_host(Host())
        future.result()
    except KeyboardInterrupt:
        host.install_host(plain)
        print(future.state.value, flush=True)
print(future.cancel_reason.value if future.cancelled() else future.result())
"""


@pytest.mark.parametrize(
    ("policy", "seconds", "then"),
    [
        ("cancel", 60, ["cancelling", "stopped"]),
        pytest.param("leave", 1.5, ["running", "None"], marks=pytest.mark.matrix),
        ("ask", 1.5, ["running", "None"]),
    ],
)
def test_ctrl_c_in_a_script(policy: str, seconds: float, then: list[str]) -> None:
    script = subprocess.Popen([sys.executable, "-c", SCRIPT, policy, str(seconds)], stdout=subprocess.PIPE, text=True)
    try:
        assert script.stdout is not None
        assert script.stdout.readline() == "waiting\n"
        script.send_signal(signal.SIGINT)
        assert script.communicate(timeout=SAFETY)[0].split() == then
        assert script.returncode == 0
    finally:
        script.kill()
        script.wait(SAFETY)
