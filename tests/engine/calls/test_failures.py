"""A task's exception here: itself, its chain, its tracebacks, and how they read."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import copy
import gc
import io
import pdb
import pickle
import re
import sys
import threading
import traceback
import types
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from IPython.core.ultratb import FormattedTB
from waits import SAFETY

import scaler_notebook
from scaler_notebook import NotebookExecutor, ProcessorDiedError
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.exceptions import failures, restoring, tracebacks


def stuck(lock: Any) -> Exception:
    """An exception whose class cannot be pickled."""

    class Stuck(Exception):
        def use(self) -> None:
            lock.acquire()

    return Stuck("stuck")


def raised(function: Callable[[], Any]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("it did not raise")


def travelled(error: BaseException, own_files: tuple[str, ...] = ()) -> BaseException:
    return restoring.restore(payloads.dump(failures.capture(error, own_files)))


def plain() -> None:
    raise KeyError("plain")


def caused() -> None:
    try:
        plain()
    except KeyError as error:
        raise ValueError("caused") from error


def during() -> None:
    try:
        caused()
    except ValueError:
        raise OSError(2, "during") from None


def in_context() -> None:
    try:
        caused()
    except ValueError:
        dict[str, str]()["in context"]


def recursive(depth: int = 20) -> None:
    if depth:
        recursive(depth - 1)
    plain()


def noted() -> None:
    error = KeyError("noted")
    if hasattr(error, "add_note"):
        error.add_note("a note")
    raise error


RAISERS = [plain, caused, during, in_context, recursive, noted]


@pytest.mark.parametrize("function", RAISERS, ids=[function.__name__ for function in RAISERS])
def test_an_exception_prints_as_it_would_have_there(function: Callable[[], None]) -> None:
    error = raised(function)
    printed = "".join(traceback.format_exception(error))
    back = travelled(error)
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert "".join(traceback.format_exception(back)) == printed  # Python underlines the same places
    for one, other in ((back, error), (back.__cause__, error.__cause__), (back.__context__, error.__context__)):
        assert type(one) is type(other)
        assert str(one) == str(other)
    assert back.__suppress_context__ == error.__suppress_context__
    assert getattr(back, "__notes__", None) == getattr(error, "__notes__", None)
    # In words there are no columns.
    markers = r"(?m)^ +[~^]+\n"
    text = re.sub(markers, "", printed)
    headline = "".join(traceback.format_exception_only(error)).strip()
    payload = payloads.dump(failures.capture(error, ()))
    assert failures.summarize(payload)[:2] == (headline, text)
    assert failures.summarize(payload)[2][-1][2] in text


@pytest.mark.parametrize("function", RAISERS, ids=[function.__name__ for function in RAISERS])
def test_ipython_shows_it_as_it_would_have_there(function: Callable[[], None]) -> None:
    """Colours, context lines and the highlighted call; only the arguments in ``in f(x)`` are gone."""

    def shown(error: BaseException) -> list[str]:
        lines = FormattedTB(mode="Context").structured_traceback(type(error), error, error.__traceback__)
        return [line for line in "\n".join(lines).splitlines() if "File" not in line]

    error = raised(function)
    original, back = shown(error), shown(travelled(error))
    calls = [line for line in original if "---->" in line and "raise" not in line and "{}" not in line]
    assert set(calls) <= set(back)
    assert len(back) == len(original)


def test_a_cause_that_is_false_is_a_cause_all_the_same() -> None:
    class Empty(Exception):
        def __len__(self) -> int:
            return 0

    def function() -> None:
        raise ValueError("outer") from Empty("inner")

    text = failures.render(failures.capture(raised(function), ()))
    assert "Empty: inner" in text
    assert "direct cause" in text


def test_a_chain_in_a_circle_ends() -> None:
    error = raised(plain)
    error.__cause__ = other = ValueError("other")
    other.__cause__ = error
    assert failures.render(failures.capture(error, ())).count("KeyError: 'plain'") == 1
    back = travelled(error)
    assert back.__cause__ is not None
    assert back.__cause__.__cause__ is back


def test_own_frames_before_the_tasks_first_are_left_out_and_later_ones_are_not() -> None:
    own: dict[str, Any] = {}
    exec(compile("def call(f):\n    return f()", "/own/package/call.py", "exec"), own)
    theirs: dict[str, Any] = {"call": own["call"]}
    exec(compile("def fit():\n    call(step)\ndef step():\n    1 / 0", "/theirs/fit.py", "exec"), theirs)
    error = raised(lambda: own["call"](theirs["fit"]))
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # ours to raise it: not the task's
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
    (link,) = failures.capture(error, ("/own/package/",)).links
    assert tuple(frame[:3] for frame in link.frames) == (
        ("/theirs/fit.py", 2, "fit"),
        ("/own/package/call.py", 2, "call"),
        ("/theirs/fit.py", 4, "step"),
    )
    (link,) = failures.capture(error, ("/else/",)).links
    assert len(link.frames) == 4
    (link,) = failures.capture(error, ("/own/", "/theirs/")).links
    assert link.frames == ()
    assert failures.render(failures.capture(error, ("/own/", "/theirs/"))) == "ZeroDivisionError: division by zero\n"


def test_an_exception_that_cannot_travel_is_replaced_by_its_words() -> None:
    def function() -> None:
        raise stuck(threading.Lock())

    back = travelled(raised(function))
    assert type(back) is RuntimeError
    assert "Stuck: stuck" in str(back)
    assert "in function" in "".join(traceback.format_tb(back.__traceback__))
    payload = payloads.dump(failures.capture(raised(function), ()))
    assert failures.summarize(payload)[1].endswith("Stuck: stuck\n")


class NoNotes(Exception):
    @property
    def __notes__(self) -> list[str]:  # type: ignore[override, unused-ignore]
        raise RuntimeError("no notes")


class NoMembers(Exception):
    @property
    def exceptions(self) -> tuple[Exception, ...]:
        raise RuntimeError("no members")


class Nothing(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("nothing")


class Exits(Exception):
    def __reduce__(self) -> Any:
        raise SystemExit(3)


@pytest.mark.parametrize("kind", [NoNotes, NoMembers, Nothing, Exits])
def test_an_exception_whose_own_code_raises_ends_no_process(executor: NotebookExecutor, kind: type[Exception]) -> None:
    def task() -> None:
        raise kind("words")

    future = executor.submit(task)
    error = future.exception(SAFETY)
    assert kind.__name__ in repr(error)
    assert not isinstance(error, ProcessorDiedError)
    assert future.failure is not None
    assert future.failure.frames[-1][2] == "task"
    assert executor.submit(abs, -1).result(SAFETY) == 1


def test_an_exception_with_a_large_array_travels() -> None:
    back = travelled(ValueError(np.arange(10_000)))
    assert back.args[0].sum() == 49_995_000


def test_an_exception_whose_class_is_not_here_is_replaced_by_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("a_module_of_the_task")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec("class Theirs(Exception): pass", module.__dict__)
    payload = payloads.dump(failures.capture(module.Theirs("far away"), ()))
    monkeypatch.delitem(sys.modules, module.__name__)
    back = restoring.restore(payload)
    assert type(back) is RuntimeError
    assert "a_module_of_the_task.Theirs: far away" in str(back)
    assert failures.summarize(payload)[0] == "a_module_of_the_task.Theirs: far away"


def test_a_payload_that_holds_no_failure_is_a_protocol_error() -> None:
    for read in (restoring.restore, failures.summarize):
        with pytest.raises(ProtocolError):
            read(payloads.dump({"exception": 1}))
    described = failures.capture(ValueError("kept"), ())
    for links in ((replace(described.links[0], exception=payloads.dump(7)),), ()):
        with pytest.raises(ProtocolError):
            restoring.restore(payloads.dump(failures.RemoteFailure(links)))


# ---------------------------------------------------------------------- chains and groups

ExceptionGroup: Any = getattr(builtins, "ExceptionGroup", None)  # Python 3.11


def needs_groups(test: Callable[[], None]) -> Callable[[], None] | None:
    """No test at all where there are none."""
    return test if ExceptionGroup is not None else None


def chain_of(length: int) -> BaseException:
    error: BaseException = ValueError("0")
    for number in range(1, length):
        following = ValueError(str(number))
        following.__context__ = error
        error = following
    return error


def names(error: BaseException | None) -> list[str]:
    found = []
    while error is not None:
        found.append(str(error))
        error = error.__cause__ or error.__context__
    return found


def test_a_long_chain_is_cut_in_the_middle() -> None:
    assert names(travelled(chain_of(failures.MAX_CHAIN))) == [str(n) for n in reversed(range(failures.MAX_CHAIN))]
    back = travelled(chain_of(2000))
    half = failures.MAX_CHAIN // 2
    assert names(back) == [str(n) for n in (*range(1999, 1999 - half, -1), *range(half - 1, -1, -1))]
    printed = "".join(traceback.format_exception(back))
    if sys.version_info >= (3, 11):
        assert "[… 1950 exceptions of this chain are left out …]" in printed
    assert "[… 1950 exceptions of this chain are left out …]" in failures.render(failures.capture(chain_of(2000), ()))


def test_a_deep_recursion_keeps_its_first_and_last_frames() -> None:
    def deep() -> None:
        deep()

    back = travelled(raised(deep))
    assert type(back) is RecursionError
    frames = traceback.extract_tb(back.__traceback__)
    assert len(frames) == tracebacks.MAX_FRAMES + 1
    assert frames[0].name == "raised"
    assert frames[-1].name == "deep"
    assert "frames left out>" in "".join(traceback.format_exception(back))


class Frozen(Exception):
    """Refuses to be changed."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


def test_an_exception_that_refuses_attributes_travels_whole() -> None:
    def function() -> None:
        raise Frozen(3) from KeyError("cause")

    back = travelled(raised(function))
    assert isinstance(back, Frozen)
    assert back.args == (3,)
    assert isinstance(back.__cause__, KeyError)
    assert back.__traceback__ is not None


def test_one_of_a_chain_that_cannot_travel_leaves_the_others_whole() -> None:
    def function() -> None:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            try:
                raise stuck(threading.Lock()) from inner
            except Exception as middle:
                raise ValueError("outer") from middle

    back = travelled(raised(function))
    assert isinstance(back, ValueError)
    assert isinstance(back.__cause__, RuntimeError)
    assert "Stuck: stuck" in str(back.__cause__)
    assert isinstance(back.__cause__.__cause__, KeyError)


@needs_groups
def test_a_group_travels_with_its_members() -> None:
    def function() -> None:
        members: list[Exception] = []
        for action in (plain, caused, lambda: nested()):
            try:
                action()
            except Exception as error:
                members.append(error)
        raise ExceptionGroup("several", members) from OSError("cause")

    def nested() -> None:
        raise ExceptionGroup("inner", [TypeError("deep")])

    error = raised(function)
    back = travelled(error)
    printed = "".join(traceback.format_exception(error))
    assert "".join(traceback.format_exception(back)) == printed
    text = failures.summarize(payloads.dump(failures.capture(error, ())))[1]
    assert "| KeyError: 'plain'" in text
    assert "ExceptionGroup: inner" in text
    assert text.startswith("OSError: cause\n\nThe above exception was the direct cause")


@needs_groups
def test_a_group_with_a_member_that_cannot_travel_keeps_the_others() -> None:
    def function() -> None:
        raise ExceptionGroup("several", [KeyError("kept"), stuck(threading.Lock())])

    back: Any = travelled(raised(function))
    assert isinstance(back, ExceptionGroup)
    assert "several" in str(back)
    kept, replaced = back.exceptions
    assert isinstance(kept, KeyError)
    assert "Stuck: stuck" in str(replaced)


@needs_groups
def test_a_group_of_very_many_is_bounded() -> None:
    error = ExceptionGroup("many", [ValueError(str(n)) for n in range(1000)])
    failure = failures.capture(error, ())
    assert len(failure.links) == failures.MAX_EXCEPTIONS
    back: Any = restoring.restore(payloads.dump(failure))
    assert [str(member) for member in back.exceptions] == [str(n) for n in range(1000)]


def test_notes_are_there_once_also_where_the_exception_forgets_them() -> None:
    error: Any = Forgetful("words")
    error.__notes__ = ["one", "two"]
    back = travelled(error)
    if sys.version_info >= (3, 11):
        assert back.__notes__ == ["one", "two"]
        assert "".join(traceback.format_exception(back)).count("one") == 1


class Forgetful(Exception):
    """Pickles without its attributes."""

    def __reduce__(self) -> Any:
        return Forgetful, self.args


# ---------------------------------------------------------------------- through the engine


def test_a_class_of_the_notebook_is_caught_as_itself(executor: NotebookExecutor) -> None:
    class Needs(Exception):
        def __init__(self, code: int, *, detail: str) -> None:
            super().__init__(f"code {code}")
            self.code, self.lock = code, threading.Lock()

    def task() -> None:
        raise Needs(3, detail="more") from Needs(2, detail="cause")

    future = executor.submit(task)
    with pytest.raises(Needs, match="code 3") as caught:
        future.result(SAFETY)
    assert caught.value.code == 3
    assert isinstance(caught.value.__cause__, Needs)
    assert future.failure is not None
    assert "Needs.lock (a _thread.lock)" in future.failure.headline
    assert executor.submit(abs, -1).result(SAFETY) == 1


def fails(value: int) -> float:
    return 1 / value


def in_context_of(value: int) -> float:
    try:
        return fails(value)
    except ZeroDivisionError:
        return float(dict[str, str]()["in context"])


def test_the_traceback_names_task_and_process_and_no_code_of_ours(executor: NotebookExecutor) -> None:
    future = executor.submit(fails, 0)
    with pytest.raises(ZeroDivisionError) as caught:
        future.result(SAFETY)
    frames = traceback.extract_tb(caught.value.__traceback__)
    boundary = next(n for n, frame in enumerate(frames) if frame.filename.startswith("<task"))
    assert frames[boundary].filename == f"<task {future.task_id} in process {future.figures.processor}>"
    assert frames[boundary].line == "fails(0)"
    assert [frame.name for frame in frames[boundary + 1 :]] == ["fails"]
    hidden = [f for f, _ in traceback.walk_tb(caught.value.__traceback__) if f.f_locals.get("__tracebackhide__")]
    assert len(hidden) == boundary - 1, "all of ours that are not the task's, but this test's own"


def test_a_traceback_does_not_grow(executor: NotebookExecutor) -> None:
    future = executor.submit(fails, 0)
    lengths = set()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError) as caught:
            future.result(SAFETY)
        lengths.add(len(traceback.extract_tb(caught.value.__traceback__)))
        assert future.exception() is caught.value
        assert len(traceback.extract_tb(caught.value.__traceback__)) in lengths, "a bare raise would lose frames"
    assert len(lengths) == 1


@pytest.mark.parametrize("function", [fails, in_context_of], ids=["no context", "a context"])
def test_the_tasks_context_is_not_replaced_by_this_sides(
    executor: NotebookExecutor, function: Callable[[int], Any]
) -> None:
    future = executor.submit(function, 0)
    for _ in range(2):
        try:
            raise OSError("of this side")
        except OSError:
            with pytest.raises((KeyError, ZeroDivisionError)) as caught:
                future.result(SAFETY)
        context = caught.value.__context__
        assert isinstance(context, OSError if function is fails else ZeroDivisionError)
    with pytest.raises((KeyError, ZeroDivisionError)) as caught:
        future.result(SAFETY)
    assert not isinstance(caught.value.__context__, OSError), "an earlier one is forgotten"


def test_a_failure_that_was_raised_keeps_no_future_alive(executor: NotebookExecutor) -> None:
    def ask() -> weakref.ref[Any]:
        futures = [executor.submit(fails, 0)]
        found = weakref.ref(futures[0])
        with contextlib.suppress(ZeroDivisionError):
            futures.pop().result(SAFETY)
        executor.submit(abs, 1).result(SAFETY)  # the agent has let go of the one before
        return found

    gc.disable()
    try:
        assert ask()() is None
    finally:
        gc.enable()


def test_an_exception_pickles_and_copies(executor: NotebookExecutor) -> None:
    error = executor.submit(caused).exception(SAFETY)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (type(again), str(again)) == (ValueError, "caused")


def test_the_words_stay_when_the_exception_is_loaded(executor: NotebookExecutor) -> None:
    future = executor.submit(caused)
    future.exception(SAFETY)
    loaded = future.failure
    assert loaded is not None
    assert loaded.headline == "ValueError: caused"
    assert "direct cause" in loaded.traceback
    assert "<task" not in loaded.traceback
    assert loaded.frames[-1][2] == "caused"


def test_a_group_of_futures_and_await_raise_the_same(executor: NotebookExecutor) -> None:
    group = executor.map_async(fails, [0])

    async def awaits() -> None:
        await group

    for wait in (group.results, lambda: asyncio.run(awaits())):
        error = raised(wait)
        hidden = [f.f_code.co_name for f, _ in traceback.walk_tb(error.__traceback__) if _is_ours_and_seen(f)]
        assert hidden == []
        assert [frame.name for frame in traceback.extract_tb(error.__traceback__)[-2:]] == ["<module>", "fails"]


def _is_ours_and_seen(frame: FrameType) -> bool:
    package = str(Path(scaler_notebook.__file__).parent)
    return frame.f_code.co_filename.startswith(package) and not frame.f_locals.get("__tracebackhide__")


def test_a_debugger_walks_the_frames(executor: NotebookExecutor) -> None:
    error = executor.submit(caused).exception(SAFETY)
    assert error is not None
    said = io.StringIO()
    debugger = pdb.Pdb(stdin=io.StringIO("where\nup\nlist\np 1 + 1\nquit\n"), stdout=said)
    debugger.reset()
    debugger.interaction(None, error.__traceback__)
    assert 'raise ValueError("caused") from error' in said.getvalue()
    assert "\n(Pdb) 2\n" in said.getvalue()
