"""Whatever a notebook defines answers in a task as it does in a fresh interpreter: any program of a small grammar."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest
from fresh_interpreter import FreshInterpreter, defined, notebook
from notebook_grammar import Program, programs

from scaler_notebook.protocol import payloads


@pytest.fixture(scope="module")
def interpreters() -> Iterator[list[FreshInterpreter]]:
    started = [FreshInterpreter() for _ in range(2)]
    yield started
    for each in started:
        each.end()


@hypothesis.given(programs())
def test_what_is_defined_answers_alike_wherever_it_is(interpreters: list[FreshInterpreter], program: Program) -> None:
    first, second = interpreters
    question = f"repr({program.question})"
    with notebook(program.source) as names:
        expected = eval(question, names)
    with notebook(f"{program.source}\ndef asked():\n    return {question}\n") as names:
        function, arguments = payloads.dump(names["asked"]), payloads.dump(defined(names))
        assert first.call(function) == expected
        assert first.evaluate(arguments, question) == expected
        assert second.call(first.sent_on(function)) == expected
        assert eval(question, names) == expected  # neither dumping nor what came back has changed anything here
