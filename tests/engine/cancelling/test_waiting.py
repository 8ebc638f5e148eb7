"""A blocking wait in a plain asyncio loop: re-entrant once ``nest_asyncio2`` is applied, plain otherwise.

Each test is a process of its own, for applying it changes asyncio for good.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import asyncio, os, signal, threading, time
import nest_asyncio2
from scaler_notebook import *

ticks = 0
async def tick():
    global ticks
    while True:
        ticks += 1
        await asyncio.sleep(0.01)

def ended(future, timeout=20):
    try: return future.result(timeout)
    except BaseException as e: return type(e).__name__

async def main():
    {apply_inside}
    ticker = asyncio.ensure_future(tick())
    with NotebookExecutor(n_workers=2, grace=0.3) as ex:
        await run(ex)
    print('alive', not ticker.done())
    ticker.cancel()
"""
APPLY = {"before": "nest_asyncio2.apply()\nasyncio.run(main())", "inside": "asyncio.run(main())"}
PLAIN = "plain"


def run(apply: str, code: str) -> list[str]:
    """The lines that a script prints which runs ``async def run(ex)`` in a loop; the last says that it went on."""
    prelude = PRELUDE.format(apply_inside="nest_asyncio2.apply()" if apply == "inside" else "pass")
    body = textwrap.indent(textwrap.dedent(code).strip(), "    ")
    script = f"{prelude}\nasync def run(ex):\n    global ticks\n{body}\n\n{APPLY.get(apply, 'asyncio.run(main())')}\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.pop() == "alive True", lines
    return lines


# A kernel applies it inside of a loop that runs; before one is the easier of the two.
@pytest.fixture(params=[pytest.param("before", marks=pytest.mark.matrix), "inside"])
def apply(request: pytest.FixtureRequest) -> str:
    return str(request.param)


WAITS = """
    waits = {
        'result': lambda f: f.result(),
        'exception': lambda f: f.exception(),
        'timeout': lambda f: wait([f], timeout=0.2),
        'wait': lambda f: wait([f]),
        'as_completed': lambda f: list(as_completed([f])),
        'map': lambda f: list(ex.map(time.sleep, [0.3])),
    }
    for name, waiting in waits.items():
        f = ex.submit(time.sleep, 0.3)
        await asyncio.sleep(0)
        before = ticks
        waiting(f)
        print(name, ticks - before > 3)
    inner = NotebookExecutor(n_workers=1)
    inner.submit(time.sleep, 0.3)
    before = ticks
    inner.shutdown()
    print('shutdown', ticks - before > 3)
"""


def test_the_loop_lives_during_every_wait(apply: str) -> None:
    lines = run(apply, WAITS)
    assert len(lines) == 7
    assert all(line.endswith(" True") for line in lines), lines


def test_without_nest_asyncio2_a_wait_is_plain() -> None:
    lines = run(PLAIN, WAITS)
    assert len(lines) == 7
    assert all(line.endswith(" False") for line in lines), lines


def test_a_callback_of_the_loop_cancels_what_is_waited_for(apply: str) -> None:
    code = """
        def takes_its_time():
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                time.sleep(0.2)
                raise
        f = ex.submit(takes_its_time)
        while f.state.value != "running":
            await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_later(0.1, lambda: print(f.cancel()))
        print(ended(f), f.cancel_reason.value)
    """
    assert run(apply, code) == ["False", "TaskCancelledError stopped"]  # a callback asks, and never waits


def test_waits_nest(apply: str) -> None:
    code = """
        async def other():
            print('inner', ex.submit(abs, -2).result(20))
            await asyncio.sleep(0.01)
            print('inner', ex.submit(abs, -3).result(20))
        task = asyncio.ensure_future(other())
        print('outer', ex.submit(time.sleep, 0.5).result(20))
        await task
    """
    assert run(apply, code) == ["inner 2", "inner 3", "outer None"]


def test_a_wait_times_out(apply: str) -> None:
    code = """
        f = ex.submit(time.sleep, 60)
        for timeout in (0, 0.1):
            print(ended(f, timeout))
        print(f.running())
        f.cancel()
    """
    assert run(apply, code) == ["TimeoutError", "TimeoutError", "True"]


@pytest.mark.parametrize("how", [pytest.param("before", marks=pytest.mark.matrix), "inside", PLAIN])
def test_ctrl_c_ends_the_wait_and_not_the_task(how: str) -> None:
    code = """
        f = ex.submit(time.sleep, 60)
        for _ in range(3):
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            print(ended(f), f.done())
            await asyncio.sleep(0)
        print(ex.submit(abs, -1).result(20))
        f.cancel()
    """
    assert run(how, code) == ["KeyboardInterrupt False"] * 3 + ["1"]


def test_a_wait_outlives_a_loop_that_is_stopped(apply: str) -> None:
    code = """
        loop = asyncio.get_running_loop()
        loop.call_later(0.1, loop.stop)
        print(ex.submit(time.sleep, 0.5).result(20))
        loop._stopping = False
    """
    assert run(apply, code) == ["None"]


def test_a_loop_of_another_thread_lives_too() -> None:
    code = """
        nest_asyncio2.apply()
        beats = 0
        async def beat():
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0.01)
        async def there():
            beating = asyncio.ensure_future(beat())
            ex.submit(time.sleep, 0.3).result(20)
            beating.cancel()
        await asyncio.to_thread(asyncio.run, there())
        print(beats > 3)
    """
    assert run(PLAIN, code) == ["True"]
