"""Functions and arguments are sent once, and never served stale."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waits import SAFETY

from scaler_notebook import NotebookExecutor, ProtocolError
from scaler_notebook.protocol.messages import Payload
from scaler_notebook.protocol.payload_cache import LARGEST, SMALLEST, Receiver, Sender


def payload(number: int, size: int) -> Payload:
    return Payload(bytes([number]) * size)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([10, SMALLEST, 700, 1500])), max_size=60))
def test_both_ends_remember_the_same_whatever_is_sent(sent: list[tuple[int, int]]) -> None:
    sender, receiver = Sender(capacity=4000), Receiver(capacity=4000)
    for number, size in sent:
        original = payload(number, size)
        assert bytes(receiver.complete(sender.shorten(original)).data) == original.data


def test_what_was_sent_is_referred_to() -> None:
    sender = Sender()
    assert sender.shorten(payload(1, 1000)).data
    reference = sender.shorten(payload(1, 1000))
    assert not reference.data
    assert reference.key
    assert sender.shorten(payload(2, 1000)).data, "other content is another payload"


@pytest.mark.parametrize("plain", [payload(1, SMALLEST - 1), payload(1, LARGEST + 1), Payload(b"x" * 1000, (b"y",))])
def test_what_gains_nothing_is_sent_as_it_is(plain: Payload) -> None:
    sender = Sender()
    assert sender.shorten(plain) is plain
    assert sender.shorten(plain) is plain


def test_a_reference_to_what_never_came_is_refused() -> None:
    with pytest.raises(ProtocolError, match="never came"):
        Receiver().complete(Payload(b"", (), b"k" * 16))


def test_a_large_function_travels_once_to_the_engine_and_is_never_stale(executor: NotebookExecutor) -> None:
    table = list(range(5000))

    def look_up(index: int) -> int:
        return table[index]

    assert [executor.submit(look_up, n).result(SAFETY) for n in range(10)] == list(range(10))
    table[3] = -1
    assert executor.submit(look_up, 3).result(SAFETY) == -1
    table[3] = 3
    assert executor.submit(look_up, 3).result(SAFETY) == 3
    for _ in range(3):  # on processes that are new
        executor.submit(exit).exception(SAFETY)
        assert executor.submit(look_up, 4).result(SAFETY) == 4
