"""What some code may replace, as its instructions say: on every version of Python, whose instructions differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scaler_notebook.task.isolation.patching.attribute_stores import attribute_stores, may_store, with_inner_code

module: Any = None


class Own:
    """An object that stores attributes of its own, as every object does."""

    def __init__(self) -> None:
        self.one = self.two = 1
        self.one += 1
        self.__dict__["three"] = 3
        self.__dict__.update(four=4)
        setattr(self, "five", 5)  # noqa: B010
        object.__setattr__(self, "six", 6)
        vars(self)["seven"] = 7


def stores(found: Any) -> tuple[list[str], list[str], list[str], bool]:
    """Return what a function may replace, as texts."""
    code = attribute_stores(found.__code__)
    exact = [".".join((name.root, *name.path, attribute)) for name, attribute in code.exact]
    return exact, [".".join((name.root, *name.path)) for name in code.items], sorted(code.names), code.by_name


def functions() -> Iterator[tuple[Callable[..., object], list[str], list[str], list[str], bool]]:
    """Yield functions, each with the attributes of named objects, containers and other attributes that it stores."""

    def by_name() -> None:
        module.one = module.two = 1
        module.part.three, module.four = 1, 2
        del module.five

    yield by_name, ["module.one", "module.two", "module.part.three", "module.four", "module.five"], [], [], False

    def imported() -> None:
        import os.path as path
        import xml.dom
        from json import decoder as a
        from json import encoder as b

        path.one = a.two = b.three = 1  # type: ignore[attr-defined]
        xml.dom.four = 1  # type: ignore[attr-defined]

    yield imported, ["os.path.one", "json.decoder.two", "json.encoder.three", "xml.dom.four"], [], [], False

    def containers(key: Any) -> None:
        module.one["a"] = 1
        module.two[key] = module.other
        module.three["a"]["b"] = 1
        module.four["a"] += 1
        del module.five[0]
        module.six.append(1)

    yield containers, [], [f"module.{name}" for name in ("one", "two", "three", "four", "five", "six")], [], False

    def unnamed(given: Any) -> None:
        alias = module
        alias.one = 1
        given.two = 1
        given.part.three = 1
        module[0].four = 1
        (_another := module).five = 1

    yield unnamed, [], [], ["five", "four", "one", "three", "two"], False

    def named_by_texts(given: Any, name: str) -> None:
        setattr(given, name, 1)

    yield named_by_texts, [], [], [], True

    def no_stores(given: Any) -> object:
        own = [module.one, given.two, {"a": 1}]
        return getattr(given, "three", own)

    yield no_stores, [], [], [], False

    def text_that_is_run() -> None:
        exec("import json\njson.one = 1")

    yield text_that_is_run, ["json.one"], [], [], False


@pytest.mark.parametrize("case", [*functions()], ids=lambda case: case[0].__name__)
def test_what_a_function_may_replace(case: tuple[Callable[..., object], list[str], list[str], list[str], bool]) -> None:
    function, exact, items, names, by_name = case
    assert stores(function) == (exact, items, names, by_name)


def test_what_an_object_stores_in_itself_is_nobody_elses() -> None:
    assert stores(Own.__init__) == ([], [], [], False)


def test_code_that_stores_nothing_is_told_quickly() -> None:
    assert not may_store((lambda: len(module.one)).__code__)
    assert may_store(Own.__init__.__code__)
    assert [code.co_name for code in with_inner_code((lambda: [lambda: 1]).__code__)] == ["<lambda>", "<lambda>"]
