"""What a task replaces in modules, or registers with them, is put back when the task has ended."""

from __future__ import annotations

import codecs
import contextlib
import contextvars
import csv
import logging
import logging.config
import math
import multiprocessing
import os
import random
import ssl
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from waits import SAFETY

from scaler_notebook import NotebookExecutor

VARIABLE: contextvars.ContextVar[int] = contextvars.ContextVar("VARIABLE", default=0)


def changes() -> list[Callable[[], object]]:
    """Return functions that travel by value, as a notebook's do."""

    def replaces_a_function() -> None:
        textwrap.dedent = print  # type: ignore[assignment]

    def replaces_by_another_name() -> None:
        import json as other

        other.JSONEncoder.default = print  # type: ignore[assignment, method-assign]

    def replaces_in_a_submodule() -> None:
        from os import path

        path.exists = print  # type: ignore[assignment]

    def replaces_deep_down() -> None:
        os.path.isdir = print  # type: ignore[assignment]

    def replaces_by_setattr() -> None:
        for name in ("call", "check_call"):
            setattr(subprocess, name, print)

    def replaces_a_private_name() -> None:
        ssl._create_default_https_context = ssl._create_unverified_context  # type: ignore[assignment]

    def patches_by_name() -> None:
        mock.patch("math.sqrt", print).start()

    def patches_an_object() -> None:
        mock.patch.object(math, "floor", print).start()

    def adds_to_a_number() -> None:
        random.TWOPI += 1  # type: ignore[attr-defined]

    def replaces_constants() -> None:
        os.sep = "|"
        sys.platform = "win32"
        sys.left = 1  # type: ignore[attr-defined]

    def deletes() -> None:
        del textwrap.fill

    def writes_into_the_names() -> None:
        vars(textwrap)["indent"] = print

    def replaces_in_a_module_that_is_imported_first() -> None:
        import colorsys

        colorsys.rgb_to_hsv = print  # type: ignore[assignment]

    def replaces_in_a_nested_function() -> None:
        def inner() -> None:
            math.ceil = print  # type: ignore[assignment]

        inner()

    def replaces_and_fails() -> None:
        textwrap.shorten = print  # type: ignore[assignment]
        raise ValueError

    def sets_a_context_variable() -> None:
        VARIABLE.set(1)

    def replaces_a_module() -> None:
        sys.modules["json"] = types.ModuleType("json")

    def adds_a_module() -> None:
        sys.modules["left_module"] = types.ModuleType("left_module")

    def registers_a_codec() -> None:
        codecs.register(lambda name: codecs.lookup("utf-8") if name == "left_codec" else None)
        b"".decode("left_codec")

    def configures_loggers() -> None:
        logging.getLogger("left_one").setLevel(50)
        logging.getLogger("left_two").addFilter(lambda _: False)
        logging.addLevelName(20, "LEFT")
        logging.captureWarnings(True)

    def detaches_a_logger() -> None:
        logger = logging.getLogger("left_one")
        logger.propagate = False

    def disables_loggers() -> None:
        logging.config.dictConfig({"version": 1, "loggers": {"left_three": {"level": "DEBUG"}}})

    def sets_a_start_method() -> None:
        multiprocessing.set_start_method("spawn", force=True)

    def sets_interpreters_own() -> None:
        sys.pycache_prefix = "/nowhere"
        sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)

    def registers_a_dialect() -> None:
        csv.register_dialect("left", delimiter="|")
        csv.field_size_limit(10)

    return [each for each in locals().values() if callable(each)]


CHANGES = {change.__name__: change for change in changes()}


def look() -> Any:
    """Return all that the changes have changed."""
    import colorsys
    import json

    def has_codec() -> bool:
        try:
            codecs.lookup("left_codec")
        except LookupError:
            return False
        return True

    loggers = [logging.getLogger(name) for name in ("left_one", "left_two", "left_three")]
    return (
        *(getattr(textwrap, name, None) for name in ("dedent", "indent", "fill", "shorten")),
        repr(vars(getattr(json, "JSONEncoder", str)).get("default")),
        *(repr(each) for each in (os.path.exists, os.path.isdir, subprocess.call, subprocess.check_call)),
        *(repr(each) for each in (math.sqrt, math.floor, math.ceil, colorsys.rgb_to_hsv)),
        ssl._create_default_https_context.__name__,
        (random.TWOPI, os.sep, sys.platform, hasattr(sys, "left"), "left_module" in sys.modules),  # type: ignore[attr-defined]
        (VARIABLE.get(), has_codec(), multiprocessing.get_start_method(allow_none=True)),
        [(each.level, each.propagate, each.disabled, each.filters) for each in loggers],
        (logging.getLevelName(20), logging._warnings_showwarning, sys.pycache_prefix, sys.getdlopenflags()),  # type: ignore[attr-defined]
        ("left" in csv.list_dialects(), csv.field_size_limit()),
    )


@pytest.mark.parametrize("name", CHANGES)
def test_the_next_task_does_not_meet_the_change(executor_of_one: NotebookExecutor, name: str) -> None:
    change, seen = CHANGES[name], look

    def looks() -> tuple[int, str]:
        return os.getpid(), repr(seen())

    def changes_and_looks() -> str:
        with contextlib.suppress(ValueError):
            change()
        return repr(seen())

    before = executor_of_one.submit(looks).result(SAFETY)
    for _ in range(2):
        assert executor_of_one.submit(changes_and_looks).result(SAFETY) != before[1]
        assert executor_of_one.submit(looks).result(SAFETY) == before


def test_a_change_by_a_function_of_a_module_is_put_back(executor_of_one: NotebookExecutor) -> None:
    before = executor_of_one.submit(look).result(SAFETY)
    executor_of_one.submit(replaces_from_a_module).result(SAFETY)
    assert repr(executor_of_one.submit(look).result(SAFETY)) == repr(before)


def replaces_from_a_module() -> None:
    textwrap.dedent = print  # type: ignore[assignment]


def test_what_an_initializer_replaces_stays() -> None:
    def prepare() -> None:
        textwrap.dedent = lambda *_: "by the initializer"

    def replaces_it_again() -> None:
        textwrap.dedent = print  # type: ignore[assignment]

    with NotebookExecutor(n_workers=1, initializer=prepare) as ex:
        for _ in range(2):
            assert ex.submit(lambda: textwrap.dedent("")).result(SAFETY) == "by the initializer"
            ex.submit(replaces_it_again).result(SAFETY)
