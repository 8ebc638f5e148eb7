"""A call that an interrupt of its caller does not divide."""

from __future__ import annotations

import signal
import threading

import pytest
from waits import SAFETY

from scaler_notebook.client.waiting.uninterrupted import UninterruptedCall

NAME = "a call"


def test_a_caller_gets_what_the_call_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        UninterruptedCall(lambda: 1 / 0, NAME).wait()


def test_an_interrupted_call_goes_on_and_what_follows_comes_once() -> None:
    events: list[str] = []
    main, may_end, has_ended = threading.get_ident(), threading.Event(), threading.Event()

    def call() -> None:
        signal.pthread_kill(main, signal.SIGINT)
        may_end.wait(SAFETY)
        events.append("ended")

    interrupted = UninterruptedCall(call, NAME)
    with pytest.raises(KeyboardInterrupt):
        interrupted.wait()
    interrupted.when_over(lambda: (events.append("followed"), has_ended.set()))
    assert events == []
    may_end.set()
    interrupted.join()
    assert has_ended.wait(SAFETY)
    assert events == ["ended", "followed"]
    interrupted.when_over(lambda: events.append("late"))
    assert events == ["ended", "followed", "late"]


def test_a_call_that_has_not_begun_is_not_made() -> None:
    events: list[str] = []
    call = UninterruptedCall(lambda: events.append("made"), NAME)
    call.when_over(lambda: events.append("followed"))
    call.join()
    assert events == ["followed"]
