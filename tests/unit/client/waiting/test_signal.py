"""A wait on the main thread: it ends by its signal, by its time-out, and by every interrupt."""

from __future__ import annotations

import signal
import threading

import pytest

from scaler_notebook.client.waiting.signal import Signal

SAFETY = 20.0  # seconds


def test_an_interrupt_that_no_system_call_sees_ends_a_wait() -> None:
    """As one does that comes just before the wait begins: here another thread gets it, and Python alone knows."""
    come = Signal()

    def interrupt() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threads = [threading.Timer(0.1, interrupt), threading.Timer(SAFETY, come.set)]
    try:
        for thread in threads:
            thread.start()
        with pytest.raises(KeyboardInterrupt):
            come.block(None)
        assert not come.is_set(), "it took until the signal"
    finally:
        for thread in threads:
            thread.cancel()
            thread.join()
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("timeout", [-1.0, 0.0, 0.01, 0.6])
def test_a_wait_ends_in_time(timeout: float) -> None:
    assert not Signal().block(timeout)


@pytest.mark.parametrize("timeout", [None, SAFETY])
def test_a_signal_ends_the_waits_of_all_threads(timeout: float | None) -> None:
    come = Signal()
    waiting = [threading.Thread(target=come.block, args=(timeout,)) for _ in range(3)]
    for thread in waiting:
        thread.start()
    threading.Timer(0.05, come.set).start()
    assert come.block(timeout)
    for thread in waiting:
        thread.join(SAFETY)
        assert not thread.is_alive()
