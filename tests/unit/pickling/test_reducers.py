"""What a notebook defines with decorators, enums, generics and the like gives the same in another process."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from fresh_interpreter import FreshInterpreter, defined, notebook

from scaler_notebook.protocol import payloads

CELLS = Path(__file__).parents[2] / "support" / "notebooks" / "travelling_cells.txt"


def cells() -> Iterator[tuple[str, str, str]]:
    """The name of each cell that this Python can read, what it defines, and what is asked of that."""
    _, *found = CELLS.read_text().split("# %% ")
    for cell in found:
        name, source = cell.split("\n", 1)
        since = re.match(r"\[3\.(\d+)\] ", name)
        if since is None or sys.version_info >= (3, int(since[1])):
            question = ast.parse(source).body[-1]
            lines = source.splitlines(keepends=True)
            yield name, "".join(lines[: question.lineno - 1]), "".join(lines[question.lineno - 1 :]).strip()


def asked(definitions: str, question: str) -> str:
    """A cell that defines a function, ``asked``, which answers the question."""
    return f"{definitions}\ndef asked():\n    return repr({question})\n"


CASES = [pytest.param(definitions, question, id=name) for name, definitions, question in cells()]


@pytest.fixture(scope="module")
def interpreters() -> Iterator[list[FreshInterpreter]]:
    started = [FreshInterpreter() for _ in range(2)]
    yield started
    for each in started:
        each.end()


@pytest.mark.parametrize(("definitions", "question"), CASES)
def test_a_function_finds_it_in_the_task(definitions: str, question: str, interpreters: list[FreshInterpreter]) -> None:
    with notebook(asked(definitions, question)) as names:
        payload = payloads.dump(names["asked"])
        assert interpreters[0].call(payload) == names["asked"]()


@pytest.mark.parametrize(("definitions", "question"), CASES)
def test_it_arrives_as_an_argument(definitions: str, question: str, interpreters: list[FreshInterpreter]) -> None:
    with notebook(definitions) as names:
        payload = payloads.dump(defined(names))
        assert interpreters[0].evaluate(payload, f"repr({question})") == eval(f"repr({question})", names)


@pytest.mark.parametrize(("definitions", "question"), CASES)
def test_it_comes_back(definitions: str, question: str, interpreters: list[FreshInterpreter]) -> None:
    with notebook(definitions) as names:
        expected = eval(f"repr({question})", names)
    with notebook(definitions) as names:  # anew: a question may change what it asks
        back = payloads.load(interpreters[0].sent_on(payloads.dump(defined(names))))
        assert eval(f"repr({question})", {**names, **back}) == expected


@pytest.mark.parametrize(("definitions", "question"), CASES)
def test_a_task_can_send_it_on(definitions: str, question: str, interpreters: list[FreshInterpreter]) -> None:
    with notebook(asked(definitions, question)) as names:
        payload = payloads.dump(names["asked"])
        assert interpreters[1].call(interpreters[0].sent_on(payload)) == names["asked"]()


@pytest.mark.parametrize(("definitions", "question"), CASES)
def test_it_comes_back_as_what_was_sent(definitions: str, question: str, interpreters: list[FreshInterpreter]) -> None:
    """Classes, enums and variables of types are the notebook's own again, so that ``is`` and ``isinstance`` hold."""
    with notebook(definitions) as names:
        sent = {name: value for name, value in defined(names).items() if issubclass(type(value), type)}
        back = payloads.load(interpreters[0].sent_on(payloads.dump(sent)))
        assert {name: value is sent[name] for name, value in back.items()} == dict.fromkeys(sent, True)


CHANGING = {
    "an enum": "import enum\nclass C(enum.Enum):\n    A = 1\n    def f(self): return self.state\nc = C.A\n",
    "a flag": "import enum\nclass C(enum.IntFlag):\n    A = 1\n    B = 3\n    def f(self): return C.state\nc = C.B\n",
    "a structure": "import ctypes\nclass C(ctypes.Structure):\n    _fields_ = [('x', ctypes.c_int)]\n"
    "    def f(self): return self.state\nc = C(1)\n",
    "a union": "import ctypes\nclass C(ctypes.Union):\n    _fields_ = [('x', ctypes.c_int)]\n"
    "    def f(self): return self.state\nc = C(1)\n",
}


@pytest.mark.parametrize("kind", CHANGING)
def test_a_class_is_as_it_was_when_it_was_sent_and_untouched_by_what_comes_back(
    kind: str, interpreters: list[FreshInterpreter]
) -> None:
    with notebook(CHANGING[kind]) as names:
        cls = names["C"]
        for state in (1, [2], {"three": 3}):
            cls.state = state
            sent = payloads.dump({"c": names["c"], "C": cls})
            for _ in range(3):
                assert interpreters[0].evaluate(sent, "c.f()") == state
            back = interpreters[0].sent_on(sent)
            cls.state = "newer"
            assert payloads.load(back)["C"] is cls
            assert cls.state == "newer"


STABLE = {
    "an enum",
    "an enum with aliases",
    "an enum with __init__",
    "an enum with hooks",
    "flags",
    "a cached function",
}


@pytest.mark.parametrize(("definitions", "question"), [case for case in CASES if case.id in STABLE])
def test_what_has_not_changed_gives_the_same_bytes(definitions: str, question: str) -> None:
    """So a function that refers to it travels once; neither dumping it nor using it is a change."""
    with notebook(asked(definitions, question)) as names:
        first = payloads.dump(names["asked"]).data
        names["asked"]()
        assert payloads.dump(names["asked"]).data == first


def test_a_context_variable_is_one_in_a_process_and_its_own_process_keeps_the_value(
    interpreters: list[FreshInterpreter],
) -> None:
    definitions = "import contextvars\nvar = contextvars.ContextVar('var', default=1)\ndef same():\n    return [var]\n"
    with notebook(definitions) as names:
        var, payload = names["var"], payloads.dump([names["same"], names["same"]])
        var.set(2)
        first, again = payloads.load(payload)
        assert first()[0] is again()[0] is var
        payload = payloads.dump({"var": var})
        var.set(3)
        assert payloads.load(payload)["var"] is var
        assert var.get() == 3
        assert interpreters[0].evaluate(payload, "var.get()") == 2


def test_a_module_of_a_type_of_its_own_travels_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("IPython.core.interactiveshell")  # whose objects are looked for where that is imported

    class Lazy(types.ModuleType):
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(f"it was loaded for {name}")

    lazy = types.ModuleType("lazy_module")
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    lazy.__class__ = Lazy
    payload = payloads.dump([lazy])
    lazy.__class__ = types.ModuleType
    assert payloads.load(payload)[0] is lazy
    lazy.__class__ = Lazy
    monkeypatch.delitem(sys.modules, "lazy_module")
    with pytest.raises(Exception, match=r"cannot pickle|was loaded"):
        payloads.dump([lazy])
