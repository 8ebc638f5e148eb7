"""Interrupts at a chosen place: before the n-th line, or byte-code, of the package that a call comes to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import scaler_notebook
from scaler_notebook.client.context.user_modules import USER_MODULES
from scaler_notebook.client.waiting.locks import call_locked

PACKAGE = str(Path(scaler_notebook.__file__).parent)


class Interrupt(KeyboardInterrupt):
    """As Ctrl-C and the stop button raise it."""


class _Tracer:
    """Raises an :class:`Interrupt` at the ``number``-th event on this thread."""

    def __init__(self, number: int, event: str) -> None:
        self._left = number
        self._event = event
        self.where = ""  # it was raised

    def __call__(self, frame: FrameType, event: str, argument: object) -> _Tracer | None:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if "__del__" in (frame.f_code.co_name, frame.f_back.f_code.co_name if frame.f_back is not None else ""):
            return None  # what is raised there is lost, whoever raises it
        if self._event == "opcode" and frame.f_code is call_locked.__code__:
            return None  # between the end of its block and the release of the lock, where no signal comes
        frame.f_trace_opcodes = self._event == "opcode"
        if event == self._event:
            self._left -= 1
            if not self._left:
                sys.settrace(None)
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
                raise Interrupt(self.where)
        return self


def interrupted(call: Callable[[], Any], number: int, event: str) -> tuple[str, Any]:
    """Make a call, and interrupt it at its ``number``-th line or opcode within the package.

    Gives where it was interrupted (empty if it had ended before), and what it gave, if it gave something.
    """
    before, tracer = sys.gettrace(), _Tracer(number, event)
    result = None
    sys.settrace(tracer)
    try:
        result = call()
    except Interrupt:
        pass
    finally:
        sys.settrace(before)
    return tracer.where, result


def everywhere(call: Callable[[], Any], event: str, step: int = 1, first: int = 1) -> Iterator[tuple[str, Any]]:
    """:func:`interrupted` at each place in turn, until a call comes to its end."""
    number = first
    # A tracer comes where no signal does, between the end of a with block and the release of its lock; of this lock it
    # would be those of all later tests that wait.
    USER_MODULES.start_over()
    while True:
        USER_MODULES.refresh()  # a look at a thousand modules that was interrupted would be the path of the next call
        where, result = interrupted(call, number, event)
        if not where:
            USER_MODULES.start_over()
            return
        yield where, result
        number += step
