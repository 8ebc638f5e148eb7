"""What a task replaces in modules, or registers with them, is put back when the task has ended."""

from __future__ import annotations

import codecs
import contextlib
import contextvars
import csv
import functools
import json
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
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from waits import SAFETY

from scaler_notebook import NotebookExecutor

VARIABLE: contextvars.ContextVar[int] = contextvars.ContextVar("VARIABLE", default=0)


TARGET = "textwrap.dedent"


class Patching:
    """An object that patches a module which it has been given."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def patch(self) -> None:
        self.module.dedent = print


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

    def replaces_under_a_local_name() -> None:
        module = textwrap
        module.dedent = print  # type: ignore[assignment]

    def replaces_in_each_of_several() -> None:
        for module in (textwrap, math):
            setattr(module, "indent", print)  # noqa: B010

    def replaces_in_an_expression() -> None:
        [setattr(textwrap, name, print) for name in dir(textwrap) if name.startswith("ded")]

    def replaces_by_a_helper() -> None:
        def helper(owner: Any, name: str, value: object) -> None:
            setattr(owner, name, value)

        helper(textwrap, "fill", print)

    def replaces_what_a_global_text_names() -> None:
        mock.patch(TARGET, print).start()

    def replaces_several_at_once() -> None:
        mock.patch.multiple("textwrap", dedent=print, fill=print).start()

    def replaces_in_a_module_that_is_looked_up() -> None:
        sys.modules["textwrap"].dedent = print  # type: ignore[attr-defined]

    def replaces_in_an_imported_submodule() -> None:
        import os.path as paths

        paths.exists = print  # type: ignore[assignment]

    def replaces_in_the_class_of_an_object() -> None:
        type(textwrap.TextWrapper()).left = 1  # type: ignore[attr-defined]

    def replaces_in_a_method() -> None:
        Patching(textwrap).patch()

    def replaces_in_a_generator_on_a_thread() -> None:
        def steps() -> Iterator[None]:
            yield
            textwrap.dedent = print  # type: ignore[assignment]

        thread = threading.Thread(target=list, args=(steps(),))
        thread.start()
        thread.join()

    def replaces_by_a_text_that_is_run() -> None:
        exec("import textwrap; textwrap.dedent = print")

    def replaces_code() -> None:
        textwrap.dedent.__code__ = (lambda text: "left").__code__

    def replaces_an_attribute_of_an_object_in_a_module() -> None:
        textwrap.dedent.left = 1  # type: ignore[attr-defined]

    def stores_items() -> None:
        json.encoder.ESCAPE_DCT["a"] = "left"
        json.encoder.ESCAPE_DCT["b"] = json.encoder.ESCAPE_DCT.pop('"')

    def changes_containers() -> None:
        textwrap.__all__.append("left")
        os.supports_fd.discard(os.stat)

    def patches_a_dictionary() -> None:
        mock.patch.dict("json.encoder.ESCAPE_DCT", a="left").start()

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

    def has_codec() -> bool:
        try:
            codecs.lookup("left_codec")
        except LookupError:
            return False
        return True

    loggers = [logging.getLogger(name) for name in ("left_one", "left_two", "left_three")]
    return (
        *(getattr(textwrap, name, None) for name in ("dedent", "indent", "fill", "shorten")),
        (textwrap.dedent.__code__.co_name if hasattr(textwrap.dedent, "__code__") else "", math.__dict__.get("indent")),
        (sorted(json.encoder.ESCAPE_DCT.items()), textwrap.__all__, os.stat in os.supports_fd),
        (hasattr(textwrap.TextWrapper, "left"), hasattr(textwrap.dedent, "left")),
        repr(vars(getattr(sys.modules["json"], "JSONEncoder", str)).get("default")),
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


def test_what_is_replaced_in_an_argument_is_put_back(executor_of_one: NotebookExecutor) -> None:
    def replaces(module: Any, value: object) -> None:
        module.dedent = value

    def replaces_in_its_class(value: object) -> None:
        type(value).left = 1  # type: ignore[attr-defined]

    def under_a_name_of_the_function_around() -> None:
        import textwrap as module

        def inner() -> None:
            module.dedent = print  # type: ignore[assignment]

        inner()

    def in_a_closure(module: Any) -> Callable[[], None]:
        def replace() -> None:
            module.dedent = print

        return replace

    def look() -> tuple[str, bool]:
        return textwrap.dedent(" text"), hasattr(textwrap.TextWrapper, "left")

    for call in (
        (replaces, textwrap, print),
        (replaces_in_its_class, textwrap.TextWrapper()),
        (functools.partial(replaces, textwrap), print),
        (Patching(textwrap).patch,),
        (in_a_closure(textwrap),),
        (under_a_name_of_the_function_around,),
    ):
        executor_of_one.submit(*call).result(SAFETY)
        assert executor_of_one.submit(look).result(SAFETY) == ("text", False)
    list(executor_of_one.map(functools.partial(replaces, textwrap), [print] * 4, chunksize=2))
    assert executor_of_one.submit(look).result(SAFETY) == ("text", False)


class Hostile:
    """An object that raises whenever it is looked at, as a proxy does that stands for nothing."""

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return Hostile, ()

    def __getattribute__(self, name: str) -> Any:
        if name.startswith(("__reduce", "__class")):  # pickle asks for these
            return object.__getattribute__(self, name)
        raise RuntimeError(f"it was asked for {name}")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("it was compared")

    __hash__ = object.__hash__


def test_objects_that_raise_when_they_are_looked_at_do_no_harm(executor_of_one: NotebookExecutor) -> None:
    def replaces(given: list[Any], module: Any) -> int:
        setattr(module, given[1], given)
        module.fill = print
        module.kept = given[0]
        return 1

    before = executor_of_one.submit(look).result(SAFETY)
    executor_of_one.submit(replaces, [Hostile(), "dedent", {Hostile: Hostile()}], textwrap).result(SAFETY)
    assert repr(executor_of_one.submit(look).result(SAFETY)) == repr(before)


def test_settings_that_a_module_has_as_properties(executor_of_one: NotebookExecutor, tmp_path: Path) -> None:
    (tmp_path / "module_with_switches.py").write_text(MODULE_WITH_SWITCHES)
    sys.path.insert(0, str(tmp_path))
    try:
        import module_with_switches as switches  # type: ignore[import-not-found]

        def switch() -> tuple[bool, int]:
            switches.fast = True
            switches.options.width = 5
            return switches.fast, switches.options.width

        def look() -> tuple[bool, int]:
            return switches.fast, switches.options.width

        assert executor_of_one.submit(switch).result(SAFETY) == (True, 5)
        assert executor_of_one.submit(look).result(SAFETY) == (False, 1)
    finally:
        sys.path.remove(str(tmp_path))
        del sys.modules["module_with_switches"]


MODULE_WITH_SWITCHES = """
import sys, types

class Module(types.ModuleType):
    _fast = False

    @property
    def fast(self):
        return Module._fast

    @fast.setter
    def fast(self, value):
        Module._fast = value

class Options:
    def __init__(self):
        vars(self)["own"] = {"width": 1}

    def __getattr__(self, name):
        return vars(self)["own"][name]

    def __setattr__(self, name, value):
        self.own[name] = value

options = Options()
sys.modules[__name__].__class__ = Module
"""


def test_what_an_import_or_a_library_changes_stays(executor_of_one: NotebookExecutor, tmp_path: Path) -> None:
    (tmp_path / "module_that_patches.py").write_text(MODULE_THAT_PATCHES)

    def uses(path: str) -> tuple[int, str, str]:
        sys.path.append(path)
        import xml  # noqa: F401
        from xml import sax  # noqa: F401

        import module_that_patches  # type: ignore[import-not-found]

        for name in ("sax", "loaded", "left"):
            setattr(types.SimpleNamespace(), name, (textwrap, module_that_patches))
        return id(module_that_patches.loaded()), textwrap.left, textwrap.shorten("", 9)  # type: ignore[attr-defined]

    def sees_submodule() -> str:
        import xml.sax

        return xml.sax.__name__

    first = executor_of_one.submit(uses, str(tmp_path)).result(SAFETY)
    assert executor_of_one.submit(uses, str(tmp_path)).result(SAFETY) == first
    assert first[1:] == ("by the import", "also")
    assert executor_of_one.submit(sees_submodule).result(SAFETY) == "xml.sax"


MODULE_THAT_PATCHES = """
import textwrap
textwrap.left = "by the import"
textwrap.shorten = lambda *_: "also"
_loaded = None

def loaded():
    global _loaded
    _loaded = _loaded or object()
    return _loaded
"""


def test_what_an_initializer_replaces_stays() -> None:
    def prepare() -> None:
        textwrap.dedent = lambda *_: "by the initializer"
        VARIABLE.set(2)

    def replaces_it_again() -> None:
        textwrap.dedent = print  # type: ignore[assignment]
        VARIABLE.set(3)

    with NotebookExecutor(n_workers=1, initializer=prepare) as ex:
        for _ in range(2):
            assert ex.submit(lambda: textwrap.dedent("")).result(SAFETY) == "by the initializer"
            assert ex.submit(VARIABLE.get).result(SAFETY) == 2
            ex.submit(replaces_it_again).result(SAFETY)
