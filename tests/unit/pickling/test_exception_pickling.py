"""Exceptions keep their type and their state on their way, whatever their classes need or have."""

from __future__ import annotations

import builtins
import copyreg
import dataclasses
import http.client
import subprocess
import sys
import threading
import types
import urllib.error
from collections.abc import Callable, Iterator
from email.message import Message
from typing import Any

import cloudpickle
import numpy as np
import pytest

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.exceptions import exception_pickling, failures, restoring
from scaler_notebook.protocol.exceptions.exception_parts import pickles_itself
from scaler_notebook.protocol.payloads import OUT_OF_BAND
from scaler_notebook.protocol.pickling.loading import constructors

BaseExceptionGroup: Any = getattr(builtins, "BaseExceptionGroup", None)  # Python 3.11
ExceptionGroup: Any = getattr(builtins, "ExceptionGroup", None)


def travelled(error: BaseException) -> Any:
    try:
        raise error
    except BaseException as caught:
        return restoring.restore(payloads.dump(failures.capture(caught, ())))


def state(error: Any) -> dict[str, Any]:
    """All that it shows, but for its notes and what hangs on it."""
    found = {name: getattr(error, name, "unset") for name in dir(error) if not name.startswith("__") and name != "obj"}
    return {name: value for name, value in found.items() if not callable(value)}


class More(Exception):
    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"code {code}")
        self.code, self.detail = code, detail


class Fewer(Exception):
    def __init__(self) -> None:
        super().__init__("two", "words")


class KeywordOnly(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code

    def __str__(self) -> str:
        return f"code {self.code}"


class FormatsTwice(Exception):
    """Loads as another one, if it is made as Python does."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(f"{message} ({code})")


class Counted(Exception):
    made = 0

    def __init__(self) -> None:
        type(self).made += 1


class Slots(Exception):
    __slots__ = ("code", "unset")

    def __init__(self, code: int) -> None:
        self.code = code


class MoreSlots(Slots):
    __slots__ = ("__hidden",)

    def __init__(self) -> None:
        super().__init__(3)
        self.__hidden = 7

    @property
    def hidden(self) -> int:
        return self.__hidden


class New(Exception):
    code: int

    def __new__(cls, code: int, *, detail: str) -> New:
        self = super().__new__(cls, code)
        self.code = code
        return self

    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(detail)


class Mixed(KeyError, More):
    def __init__(self, key: str) -> None:
        More.__init__(self, 3, key)


class NotFitted(ValueError, AttributeError):
    """As scikit-learn has it."""

    def __init__(self, model: str, *, fitted: bool) -> None:
        super().__init__(f"{model}: {fitted}")


class NoFile(FileNotFoundError):
    def __init__(self, path: str) -> None:
        super().__init__(2, "no such model", path)
        self.more = path


class TwoFiles(OSError):
    def __init__(self, path: str, *, other: str) -> None:
        super().__init__(17, "in the way", path, None, other)


class OnlyWords(OSError):
    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host}:{port}")


class Undecodable(UnicodeDecodeError):
    def __init__(self, content: bytes) -> None:
        super().__init__("utf-8", content, 0, 1, "not ours")


class NoPackage(ImportError):
    def __init__(self, package: str) -> None:
        super().__init__(f"install {package}", name=package, path="/packages")


class NoAttribute(AttributeError):
    def __init__(self, owner: Any, attribute: str) -> None:
        super().__init__(f"no {attribute}", name=attribute, obj=owner)


class Exits(SystemExit):
    def __init__(self, code: int, why: str) -> None:
        super().__init__(code)
        self.why = why


class Grammar(SyntaxError):
    def __init__(self, line: int) -> None:
        super().__init__("no such rule", ("grammar.txt", line, 2, "x = = 3"))


class Stops(StopIteration):
    def __init__(self, value: int, why: str) -> None:
        super().__init__(value)


@dataclasses.dataclass
class Data(Exception):
    code: int
    detail: str = "none"


@dataclasses.dataclass(frozen=True)
class FrozenData(Exception):
    code: int
    detail: str = "none"


@dataclasses.dataclass(frozen=True, slots=True)
class SlotsData(Exception):
    code: int
    detail: str = "none"


class Reduces(Exception):
    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(code)
        self.detail = detail

    def __reduce__(self) -> Any:
        return _make_reduces, (self.args[0], self.detail)


def _make_reduces(code: int, detail: str) -> Reduces:
    return Reduces(code, detail=detail)


class ReducesBadly(Exception):
    def __init__(self, code: int, detail: str) -> None:
        super().__init__(code)
        self.detail = detail

    def __reduce__(self) -> Any:
        return ReducesBadly, (self.args[0],)


class ReducesToOtherWords(Exception):
    """As urllib3's errors do, which most network errors hold."""

    def __init__(self, pool: Any, message: str) -> None:
        super().__init__(f"{pool}: {message}")
        self.pool = pool

    def __reduce__(self) -> Any:
        return ReducesToOtherWords, (None, "message")


class DoesNotReduce(Exception):
    def __reduce__(self) -> Any:
        raise SystemExit(3)


class NoException(Exception):
    def __reduce__(self) -> Any:
        return str, ("words",)


class ReducesEx(Exception):
    def __reduce_ex__(self, protocol: Any) -> Any:
        raise ValueError("none")


class SetsState(Exception):
    def __init__(self, code: int, detail: str) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        raise ValueError("none")


class Refuses(Exception):
    def __init__(self, code: int, detail: str) -> None:
        self.__dict__["code"] = code

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class HoldsAnother(Exception):
    def __init__(self, other: Exception, *others: Exception) -> None:
        super().__init__("held")
        self.other, self.others = other, others


class HoldsItself(Exception):
    def __init__(self, code: int, detail: str) -> None:
        self.me = {"me": self}


MADE: list[Callable[[], BaseException]] = [
    lambda: More(3, "detail"),
    Fewer,
    lambda: KeywordOnly(code=3),
    lambda: FormatsTwice("message", 3),
    lambda: Slots(3),
    MoreSlots,
    lambda: New(3, detail="detail"),
    lambda: Mixed("key"),
    lambda: NotFitted("model", fitted=False),
    lambda: NoFile("/a/model"),
    lambda: TwoFiles("/a", other="/b"),
    lambda: OnlyWords("host", 80),
    lambda: Undecodable(b"\xff"),
    lambda: NoPackage("torch"),
    lambda: NoAttribute(object(), "fit"),
    lambda: Exits(3, "why"),
    lambda: Grammar(7),
    lambda: Stops(3, "why"),
    lambda: Data(3),
    lambda: Data(code=3, detail="more"),
    lambda: FrozenData(code=3),
    lambda: SlotsData(3, "more"),
    lambda: SlotsData(code=3),
    lambda: Reduces(3, detail="detail"),
    lambda: ReducesBadly(3, "detail"),
    lambda: ReducesToOtherWords("pool", "message"),
    lambda: DoesNotReduce(3),
    lambda: NoException("words"),
    lambda: ReducesEx(3),
    lambda: SetsState(3, "detail"),
    lambda: Refuses(3, "detail"),
    lambda: subprocess.CalledProcessError(returncode=3, cmd="make"),
    lambda: AttributeError("none", name="part", obj=threading.Lock()),
    lambda: NameError("none", name="part"),
    lambda: UnboundLocalError("none", name="part"),
    lambda: OSError(2, "none", "/a"),
    lambda: OSError(11, "later", 7),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "none"),
    lambda: SyntaxError("none", ("file", 3, 2, "text")),
    lambda: http.client.IncompleteRead(b"some", 7),
]


OF_THIS_MODULE = [make for make in MADE if type(make()).__module__ == __name__ and not pickles_itself(type(make()))]


@pytest.fixture
def by_value() -> Iterator[None]:
    """The classes of this module are pickled as a notebook's."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture(params=["by reference", "by value"])
def sent(request: pytest.FixtureRequest) -> None:
    """How the classes of this module are pickled: as a module's, or as a notebook's."""
    if request.param == "by value":
        request.getfixturevalue("by_value")


@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize("make", MADE, ids=lambda make: f"{type(make()).__name__}")
def test_an_exception_arrives_as_it_was(make: Callable[[], BaseException]) -> None:
    error = make()
    back = travelled(error)
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert repr(back) == repr(error)
    assert state(back) == state(error)
    assert getattr(back, "__notes__", []) == []


@pytest.mark.usefixtures("by_value")
@pytest.mark.parametrize("make", OF_THIS_MODULE, ids=lambda make: f"{type(make()).__name__}")
def test_an_exception_of_a_notebook_is_a_value_too(make: Callable[[], BaseException]) -> None:
    """Where it is returned, or held by what is. What modules define is pickled as they say."""
    error = make()
    back = payloads.load(payloads.dump({"kept": [error]}))["kept"][0]
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert state(back) == state(error)


def test_nothing_of_its_class_is_called() -> None:
    error = Counted()
    assert isinstance(travelled(error), Counted)
    assert Counted.made == 1


def test_what_an_exception_holds_arrives_too() -> None:
    back = travelled(HoldsAnother(More(3, "detail"), NoFile("/a"), KeyError("key")))
    assert (type(back.other), back.other.code) == (More, 3)
    assert [type(other) for other in back.others] == [NoFile, KeyError]
    back = travelled(HoldsAnother(Reduces(3, detail="detail"), ReducesBadly(3, "b"), ReducesToOtherWords("pool", "c")))
    assert [str(other) for other in (back.other, *back.others)] == ["3", "3", "pool: c"]
    back = travelled(HoldsItself(3, "detail"))
    assert back.me["me"] is back


def test_a_class_that_is_registered_with_copyreg_is_pickled_as_that_says() -> None:
    class Registered(Exception):
        pass

    copyreg.pickle(Registered, lambda error: (KeyError, error.args))  # type: ignore[arg-type, return-value]
    try:
        assert type(travelled(Registered("key"))) is KeyError
    finally:
        del copyreg.dispatch_table[Registered]


# ---------------------------------------------------------------------- what does not travel


class Unreadable:
    """Pickles, and does not load."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


class Holds(Exception):
    def __init__(self, value: Any, detail: str) -> None:
        super().__init__(f"held for {detail}")
        self.value, self.detail = value, detail


class HoldsInASlot(Exception):
    __slots__ = ("value",)

    def __init__(self, value: Any, detail: str) -> None:
        super().__init__(f"held for {detail}")
        self.value = value


UNMOVABLE: dict[str, Callable[[], Any]] = {
    "lock": threading.Lock,
    "event": threading.Event,
    "file": lambda: open("/dev/null", "wb"),  # noqa: SIM115
    "generator": lambda: (n for n in range(0)),
    "frame": sys._getframe,
    "unreadable": Unreadable,
    "in a list": lambda: [1, {"lock": threading.Lock()}],
}


@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize("what", UNMOVABLE)
@pytest.mark.parametrize("kind", [Holds, HoldsInASlot])
def test_an_attribute_that_does_not_travel_is_left_out_and_named(what: str, kind: type[Exception]) -> None:
    value = UNMOVABLE[what]()
    error: Any = kind(value, "ever")
    back = travelled(error)
    assert type(back) is kind
    assert str(back) == "held for ever"
    assert not hasattr(back, "value")
    assert getattr(back, "detail", "ever") == "ever"
    note = f"{kind.__name__}.value ({'an' if what == 'file' else 'a'} "
    if sys.version_info >= (3, 11):
        assert note in back.__notes__[0]
    assert note in failures.summarize(payloads.dump(failures.capture(error, ())))[0]
    if what == "file":
        value.close()


@pytest.mark.parametrize("kind", [ValueError, KeyError, RuntimeError, More, OSError])
def test_an_argument_that_does_not_travel_is_replaced_by_what_prints_like_it(kind: Any) -> None:
    lock = threading.Lock()
    error = kind.__new__(kind)
    error.args = ("first", lock, 3)
    back = travelled(error)
    assert type(back) is kind
    assert str(back) == str(error)
    assert repr(back) == repr(error)
    assert (back.args[0], back.args[2]) == ("first", 3)


class Retried(Exception):
    """Its text needs what does not travel, as that of tenacity's error does."""

    def __init__(self, lock: Any, detail: str) -> None:
        self.lock = lock

    def __str__(self) -> str:
        return f"tried with {self.lock}"


class Delegates(Exception):
    """Fails with anything that it does not have, if it has not that."""

    def __init__(self, lock: Any, detail: str) -> None:
        self.lock = lock

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["lock"], name)


class LooksUp(Exception):
    """Fails with something else than an AttributeError, whatever it does not have, notes included."""

    def __init__(self, answer: dict[str, int], detail: str) -> None:
        super().__init__("looked up")
        self.answer = answer

    def __getattr__(self, name: str) -> int:
        return self.__dict__["answer"][name]  # type: ignore[no-any-return]


@pytest.mark.parametrize("lock", [False, True])
def test_an_exception_that_fails_with_anything_it_does_not_have_arrives(lock: bool) -> None:
    error = LooksUp({"code": 3}, "detail")
    if lock:
        error.lock = threading.Lock()  # type: ignore[attr-defined]
    back = travelled(error)
    assert (type(back), str(back), back.code) == (LooksUp, "looked up", 3)


@pytest.mark.parametrize("kind", [Retried, Delegates])
def test_an_attribute_that_the_exception_needs_is_replaced_by_what_prints_like_it(kind: Any) -> None:
    error: Any = kind(threading.Lock(), "detail")
    back = travelled(error)
    assert type(back) is kind
    assert str(back) == str(error)
    assert str(back.lock) == str(error.lock)


def test_an_answer_of_a_server_arrives_without_its_connection() -> None:
    headers = Message()
    headers["Server"] = "ours"
    with open(sys.executable, "rb") as connection:
        back = travelled(urllib.error.HTTPError("http://here", 404, "not there", headers, connection))
    assert (type(back), back.code, back.reason) == (urllib.error.HTTPError, 404, "not there")
    assert back.headers["Server"] == "ours"
    assert str(back) == "HTTP Error 404: not there"


def test_parts_of_what_an_exception_holds_are_left_out_too() -> None:
    back = travelled(HoldsAnother(Holds(threading.Lock(), "ever"), KeyError("key")))
    assert (type(back.other), back.other.detail) == (Holds, "ever")
    assert back.others[0].args == ("key",)


class Unprintable(Exception):
    def __init__(self, lock: Any, detail: str) -> None:
        self.lock, self.detail = lock, detail

    def __str__(self) -> str:
        raise ValueError("none")

    __repr__ = __str__


def test_one_whose_text_cannot_be_had_arrives_too() -> None:
    back = travelled(Unprintable(threading.Lock(), "detail"))
    assert (type(back), back.detail) == (Unprintable, "detail")


def test_a_large_attribute_travels_beside_the_pickle() -> None:
    error = Holds(np.arange(OUT_OF_BAND), "ever")
    packed = exception_pickling.pickle_exception(error)
    assert len(packed.payload.data) < OUT_OF_BAND
    assert (travelled(error).value == error.value).all()


# ---------------------------------------------------------------------- words, when nothing else is left


def test_a_class_that_cannot_be_pickled_is_named_in_words() -> None:
    lock = threading.Lock()

    class Local(Exception):
        def use(self) -> None:
            lock.acquire()

    back = travelled(Local("words"))
    assert type(back) is RuntimeError
    assert "Local: words (the exception itself cannot be pickled: TypeError: " in str(back)


def test_a_class_that_cannot_be_loaded_is_named_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(Exception):
        pass

    def make_class(*parts: Any) -> type:
        raise TypeError(parts)

    make_class.__module__, make_class.__qualname__ = constructors.__name__, "make_class"
    monkeypatch.setattr(constructors, "make_class", make_class)
    back = travelled(Local("words"))
    assert type(back) is RuntimeError
    assert "Local: words (the exception itself could be pickled, but not loaded: TypeError: " in str(back)


# ---------------------------------------------------------------------- groups

if ExceptionGroup is not None:

    class Coded(ExceptionGroup):  # type: ignore[misc]
        """A group as the documentation of Python has it."""

        def __new__(cls, errors: list[Exception], code: int) -> Coded:
            self: Coded = super().__new__(cls, f"code {code}", errors)
            self.code = code
            return self

        def __init__(self, errors: list[Exception], code: int) -> None:
            pass

        def derive(self, errors: Any) -> Coded:
            return Coded(errors, self.code)

    class CodedBase(BaseExceptionGroup):  # type: ignore[misc]
        def __new__(cls, errors: list[Exception], code: int) -> CodedBase:
            self: CodedBase = super().__new__(cls, f"code {code}", errors)
            self.code = code
            return self

    @pytest.mark.usefixtures("sent")
    @pytest.mark.parametrize("kind", [Coded, CodedBase])
    def test_a_group_of_its_own_class_arrives_with_its_members(kind: Any) -> None:
        error = kind([More(3, "detail"), kind([KeyError("key")], 4), NoFile("/a")], 5)
        back = travelled(error)
        assert type(back) is kind
        assert (back.code, back.message, repr(back)) == (5, "code 5", repr(error))
        assert [type(member) for member in back.exceptions] == [More, kind, NoFile]
        assert (back.exceptions[0].code, back.exceptions[1].code) == (3, 4)
        if kind is Coded:
            matching, rest = back.split(KeyError)
            assert (type(matching), matching.code, len(rest.exceptions)) == (Coded, 5, 2)

    def test_members_of_a_group_lose_what_does_not_travel_and_nothing_else() -> None:
        lock = threading.Lock()

        class Local(Exception):
            def use(self) -> None:
                lock.acquire()

        back = travelled(Coded([Holds(lock, "ever"), Local("words"), KeyError("key")], 5))
        held, in_words, kept = back.exceptions
        assert (type(back), back.code) == (Coded, 5)
        assert (type(held), held.detail) == (Holds, "ever")
        assert type(in_words) is RuntimeError
        assert "Local: words" in str(in_words)
        assert kept.args == ("key",)


def test_what_cannot_be_loaded_here_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("a_module_of_the_task")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec("class Theirs(Exception):\n    def __init__(self, a, b): self.a = a", module.__dict__)
    payload = payloads.dump(failures.capture(module.Theirs("far", "away"), ()))
    monkeypatch.delitem(sys.modules, module.__name__)
    assert "the exception itself cannot be loaded here: No module named" in str(restoring.restore(payload))
