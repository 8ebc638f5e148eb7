"""Batches whose large frames travel in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler_notebook.engines.local.ipc.tcp import frame_pieces
from scaler_notebook.engines.local.ipc.tcp.frame_pieces import MARK, PIECE, join, split
from scaler_notebook.protocol.errors import ProtocolError

LENGTHS = st.sampled_from([0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1])


@given(st.lists(LENGTHS, min_size=1, max_size=5))
def test_the_frames_are_as_they_were(lengths: list[int]) -> None:
    frames = [bytes([number]) * length for number, length in enumerate(lengths)]
    pieces = split(frames)
    assert max(len(each) for each in pieces) <= PIECE
    assert [bytes(each) for each in join(pieces)] == frames


def test_a_batch_of_small_frames_is_sent_as_it_is() -> None:
    frames = [b"header", b"x" * PIECE]
    assert split(frames) is frames
    assert join(frames) is frames


@given(st.binary(max_size=40), st.lists(st.binary(max_size=5), max_size=4))
def test_a_list_that_is_wrong_is_refused(text: bytes, frames: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        join([MARK + text + b"?" * (-len(text) % 16 or 16), *frames])


def test_lengths_that_no_memory_holds_are_refused() -> None:
    with pytest.raises(ProtocolError, match="bytes and not"):
        join([MARK + frame_pieces._LARGE.pack(0, 2**64 - 1), b"x"])
