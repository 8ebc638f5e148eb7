"""What is left of what a task displays between two looks: it shows the same as all of it would."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scaler_notebook.client.task_state.output import Output
from scaler_notebook.protocol.messages import DisplayKind, LogStream, Payload, TaskDisplay
from scaler_notebook.task.display.display_buffer import Body, BufferedDisplay, DisplayBuffer

SHOW, UPDATE, CLEAR, CLEAR_ON_NEXT = DisplayKind
Step = tuple[Any, str]  # a stream and text, a kind and a display id, or a look


def body_of(number: int) -> Body:
    return json.dumps({"text/plain": str(number)}).encode(), b"{}"


class Everything:
    """What a client shows that was sent all of it."""

    def __init__(self) -> None:
        self.output = Output()
        self._there: set[str] = set()

    def display(self, kind: DisplayKind, display_id: str, number: int) -> None:
        if kind is SHOW:
            self._there.add(display_id)
        elif kind is not UPDATE:
            self._there.clear()
        elif not display_id or display_id not in self._there:
            return
        bundle, metadata = map(Payload, body_of(number))
        self.output.add_display(TaskDisplay("t", bundle, metadata, kind, display_id))


def sent(screen: DisplayBuffer, to: Output) -> int:
    """Take what there is; gives how many displays that was."""
    pieces = screen.take()
    for piece in pieces:
        if isinstance(piece, BufferedDisplay):
            bundle, metadata = Payload(piece.bundle), Payload(piece.metadata)
            to.add_display(TaskDisplay("t", bundle, metadata, piece.kind, piece.display_id))
        else:
            to.add(*piece)
    return sum(isinstance(piece, BufferedDisplay) for piece in pieces)


writes = st.tuples(st.sampled_from(list(LogStream)), st.text("ab\n", min_size=1, max_size=3))
kinds = st.sampled_from([SHOW, SHOW, UPDATE, UPDATE, CLEAR, CLEAR_ON_NEXT])
displays = st.tuples(kinds, st.sampled_from(["", "x", "y"]))
steps = st.lists(st.one_of(writes, displays, st.just(("look", ""))), max_size=40)


@given(steps, st.booleans())
def test_the_same_is_shown_at_every_look_and_no_text_is_lost(steps: list[Step], settles: bool) -> None:
    screen, some, every = DisplayBuffer(), Output(), Everything()
    for number, (what, text) in enumerate([*steps, ("look", "")]):
        match what:
            case LogStream():
                screen.write(what, text)
                every.output.add(what, text)
            case DisplayKind():
                screen.display(what, text, 1, lambda number=number: body_of(number))  # type: ignore[misc]
                every.display(what, text, number)
            case _:
                sent(screen, some)
                assert some.pieces() == every.output.pieces()
                assert some.logs() == every.output.logs()
        if settles:
            screen.read_bodies()


def test_of_an_animation_one_frame_is_read_and_sent() -> None:
    screen, shown, read = DisplayBuffer(), Output(), []

    def reads(number: int) -> Body:
        read.append(number)
        return body_of(number)

    screen.display(SHOW, "frame", 9, lambda: reads(0))
    for number in range(1, 1000):
        screen.display(UPDATE, "frame", 9, lambda number=number: reads(number))  # type: ignore[misc]
    assert sent(screen, shown) == 1
    for number in range(1000, 2000):
        screen.display(CLEAR_ON_NEXT, "", 2, lambda: reads(-1))
        screen.display(SHOW, "", 9, lambda number=number: reads(number))  # type: ignore[misc]
    assert sent(screen, shown) == 2  # the clear, and the last
    assert read == [999, 1999]
    assert [display.bundle["text/plain"] for display in shown.displays()] == ["1999"]
