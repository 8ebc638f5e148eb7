"""Messages that are almost right: valid ones, changed at random."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgpack

from scaler_notebook.protocol.messages import Buffer

ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 255, 2**31, 2**40, 2**63, -(2**63), 2**64 - 1, 0.0, -1.0, 1e308, float("inf")),
    *(float("nan"), "", "x", "\udc80", "/proc/self/fd/0", "a" * 10_000, b"", b"\x00" * 300, b"\x80\x05.", []),
    *([[]], {}, [[1, 2, 3]], [None] * 70),
]
NO_BATCH: list[Any] = [{"a": 1}]  # what makes all of a batch unreadable


class Mutator:
    """Changes batches of messages, as frames."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def mutated(self, frames: Sequence[Buffer], whole: bool = False) -> list[bytes]:
        """A batch with one to three changes; ``whole``: of what it says alone, so that it is still a batch."""
        changed = [bytes(frame) for frame in frames]
        for _ in range(self._rng.choice([1, 1, 2, 3])):
            if whole or self._rng.random() < 0.7:
                changed[0] = self._other_words(changed[0], ODD if whole else ODD + NO_BATCH)
            else:
                changed = self._other_bytes(changed)
        return changed

    def _other_words(self, header: bytes, odd: list[Any]) -> bytes:
        try:
            batch = msgpack.unpackb(header, unicode_errors="surrogatepass", strict_map_key=False)
        except Exception:  # it was torn before
            return header
        at: Any = batch
        while isinstance(at, list) and at:
            place = self._rng.randrange(len(at))
            if isinstance(at[place], list) and self._rng.random() < 0.8:
                at = at[place]
                continue
            match self._rng.random():
                case chance if chance < 0.7:
                    at[place] = self._rng.choice(odd)
                case chance if chance < 0.8 and at is not batch:
                    del at[place]
                case chance if chance < 0.9:
                    at.insert(place, self._rng.choice(odd))
                case _:
                    at[place] = at[self._rng.randrange(len(at))]
            break
        try:
            packed: bytes = msgpack.packb(batch, unicode_errors="surrogatepass")
        except Exception:  # it holds itself now
            return header
        return packed

    def _other_bytes(self, frames: list[bytes]) -> list[bytes]:
        rng, place = self._rng, self._rng.randrange(len(frames))
        frame = bytearray(frames[place])
        match rng.randrange(6):
            case 0 if frame:
                frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
            case 1:
                del frame[rng.randrange(len(frame) + 1) :]
            case 2:
                frame += rng.randbytes(rng.randrange(20))
            case 3 if frame:
                start = rng.randrange(len(frame))
                frame[start : start + 4] = rng.randbytes(4)
            case 4:
                return [*frames, rng.randbytes(rng.randrange(40))]
            case _ if len(frames) > 1:
                return frames[:-1]
        return [*frames[:place], bytes(frame), *frames[place + 1 :]]
