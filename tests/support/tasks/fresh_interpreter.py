"""An interpreter that loads what a notebook has sent, as a task process does; and cells that stand for a notebook."""

from __future__ import annotations

import pickle
import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.messages import Payload

SERVER = """
import pickle, sys
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.pickling.loading.unpickling_context import UnpicklingContext
def run(payload, expression, again):
    context = UnpicklingContext()
    sys.modules["__main__"] = context.main
    with context:
        value = payloads.load(payload)
    if again:
        return payloads.copied(payloads.dump(value))
    if expression is None:
        return value()
    names = {**value, "__name__": "__main__"}
    return eval(expression, names)
while True:
    try:
        request = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    try:
        answer = True, run(*request)
    except Exception as problem:
        answer = False, f"{type(problem).__name__}: {problem}"
    pickle.dump(answer, sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""


class FreshInterpreter:
    """A process that has nothing of the notebook's but what is sent to it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.call(payloads.dump(dict)) == {}  # it runs, and can be told from what a test leaves

    def call(self, payload: Payload) -> Any:
        """What the function that travelled returns: something plain."""
        return self._ask(payload, None, False)

    def evaluate(self, payload: Payload, expression: str) -> Any:
        """What an expression gives with the names that travelled: something plain."""
        return self._ask(payload, expression, False)

    def sent_on(self, payload: Payload) -> Payload:
        """What arrived, pickled again there."""
        answer = self._ask(payload, None, True)
        assert isinstance(answer, Payload)
        return answer

    def _ask(self, payload: Payload, expression: str | None, again: bool) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((payloads.copied(payload), expression, again), self._process.stdin)
        self._process.stdin.flush()
        fine, answer = pickle.load(self._process.stdout)
        assert fine, answer
        return answer

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


@contextmanager
def notebook(source: str) -> Iterator[dict[str, Any]]:
    """The names of a notebook whose one cell has this source; it is ``__main__`` as long as the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        main = types.ModuleType("__main__")
        patch.setitem(sys.modules, "__main__", main)
        names = main.__dict__
        exec(compile(source, "<cell>", "exec", dont_inherit=True), names)
        yield names


def defined(names: dict[str, Any]) -> dict[str, Any]:
    """What a notebook's cells have bound."""
    return {name: value for name, value in names.items() if not name.startswith("__")}
