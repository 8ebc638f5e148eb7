"""The wire form of every message: what goes in comes out, and whatever else arrives is a ProtocolError."""

import copy
import dataclasses
import math
import pickle
import tracemalloc
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler_notebook.engines.local.ipc.messages import WORKER_CODEC, Input, WorkerMessage
from scaler_notebook.protocol.encoding import wire
from scaler_notebook.protocol.encoding.wire import CLIENT_CODEC, ENGINE_CODEC, Codec
from scaler_notebook.protocol.encoding.wire_forms import INLINE_PICKLE
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.frozen import frozen
from scaler_notebook.protocol.messages import (
    Buffer,
    Capability,
    ClientMessage,
    EngineMessage,
    LogStream,
    Payload,
    SegmentRef,
    Task,
    TaskBrief,
    TaskFigures,
    TaskLog,
    TaskOptions,
    TaskResult,
    TaskResultType,
    TaskStarted,
)
from scaler_notebook.protocol.twins import maker, twin

CODECS: dict[str, tuple[Codec[Any], tuple[type, ...]]] = {
    "client": (CLIENT_CODEC, get_args(ClientMessage)),
    "engine": (ENGINE_CODEC, get_args(EngineMessage)),
    "inner": (WORKER_CODEC, get_args(WorkerMessage)),
}
CLASSES = [(codec, cls) for codec, classes in CODECS.values() for cls in classes]
NAMES = [cls.__name__ for _, cls in CLASSES]

SMALL = st.binary(max_size=40)
SEEDS = st.binary(min_size=1, max_size=9)
LARGE = st.builds(lambda seed, size: (seed * size)[:size], SEEDS, st.integers(16_380, 16_388))
PICKLES = SMALL | LARGE
SEGMENTS = st.builds(SegmentRef, st.integers(0, 2**31), st.integers(0, 2**20), st.integers(1, 2**40))
PAYLOADS = st.builds(Payload, PICKLES, st.lists(PICKLES | SEGMENTS, max_size=4).map(tuple), st.just(b"") | SMALL)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    Payload: PAYLOADS,
    str: st.text(max_size=20),
    int: st.integers(-(2**63), 2**64 - 1),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: SMALL,
    tuple[str, ...]: st.lists(st.text(max_size=9), max_size=4).map(tuple),
    tuple[int, ...]: st.lists(st.integers(0, 2**40), max_size=4).map(tuple),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    if kind in SCALARS:
        return SCALARS[kind]
    if get_origin(kind) is tuple:
        return st.lists(values(get_args(kind)[0]), max_size=3).map(tuple)
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    hints = get_type_hints(kind)
    return st.builds(kind, **{field.name: values(hints[field.name]) for field in dataclasses.fields(kind)})


def batches(classes: Iterable[type]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.one_of([values(cls) for cls in classes]), max_size=4)


def as_received(frames: Sequence[Buffer]) -> list[Buffer]:
    """What the transports give: a read-only view of the header, and memory of their own for the buffers."""
    return [memoryview(bytes(frames[0])), *(bytearray(frame) for frame in frames[1:])]


def refused(codec: Codec[Any], frames: Sequence[Buffer]) -> None:
    with pytest.raises(ProtocolError):
        codec.decode(frames)


def survives(frames: Sequence[Buffer]) -> None:
    """Whatever it is, it is messages or a ProtocolError; if messages, then they are messages that can be sent on."""
    for codec, _ in CODECS.values():
        try:
            batch = codec.decode(frames)
        except ProtocolError:
            continue
        assert repr(codec.decode(codec.encode(batch))) == repr(batch)


# ---------------------------------------------------------------------- round trips


@pytest.mark.parametrize(("codec", "cls"), CLASSES, ids=NAMES)
def test_every_class_has_a_wire_form_and_comes_back_equal(codec: Codec[Any], cls: type) -> None:
    @given(values(cls))
    def round_trip(message: Any) -> None:
        (back,) = codec.decode(as_received(codec.encode([message])))
        assert type(back) is cls
        assert back == message

    round_trip()


@pytest.mark.parametrize("name", CODECS)
def test_batches_keep_their_messages_and_the_order(name: str) -> None:
    codec, classes = CODECS[name]
    of_one_class = st.one_of([st.lists(values(cls), min_size=wire.FEWEST_ROWS, max_size=6) for cls in classes])

    @given(batches(classes) | of_one_class)
    def round_trip(batch: list[Any]) -> None:
        assert codec.decode(as_received(codec.encode(batch))) == batch

    round_trip()


# ---------------------------------------------------------------------- tables


@pytest.mark.parametrize(("codec", "cls"), CLASSES, ids=NAMES)
def test_many_of_a_class_are_a_table(codec: Codec[Any], cls: type) -> None:
    sample = _sample(cls)
    equal, *_ = codec.decode(codec.encode([sample]))
    batch = [sample, equal] * wire.FEWEST_ROWS
    header = msgpack.unpackb(codec.encode(batch)[0])
    assert len(header) == (1 if len(dataclasses.fields(cls)) > 1 else len(batch))
    back = codec.decode(codec.encode(batch))
    assert back == batch
    assert {type(message) for message in back} == {cls}
    assert list(map(repr, back)) == list(map(repr, batch))


def test_what_tasks_share_travels_once_and_is_one_object() -> None:
    function = Payload(b"f" * 10_000)
    tasks = [Task(f"t{n}", function, Payload(b"%d" % n), TaskOptions(f"f({n})")) for n in range(100)]
    (frame,) = CLIENT_CODEC.encode(tasks)
    assert len(frame) < 10_000 + 100 * 40
    back = [message for message in CLIENT_CODEC.decode([frame]) if isinstance(message, Task)]
    assert back == tasks
    assert len({id(task.function) for task in back}) == 1


def test_large_messages_are_no_table() -> None:
    results = [TaskResult(f"t{n}", TaskResultType.SUCCESS, Payload(b"x", (b"buffer",))) for n in range(5)]
    large = [TaskResult(f"t{n}", TaskResultType.SUCCESS, Payload(b"x" * (INLINE_PICKLE + 1))) for n in range(5)]
    batch = [*results, *large, *results]
    frames = ENGINE_CODEC.encode(batch)
    assert len(frames) == 1 + len(batch)
    assert ENGINE_CODEC.decode(frames) == batch


def test_the_sign_of_a_zero_is_kept() -> None:
    batch = [TaskStarted("t", "7", time) for time in (0.0, -0.0, 0.0, -0.0)]
    back = ENGINE_CODEC.decode(ENGINE_CODEC.encode(batch))
    assert [math.copysign(1, message.time) for message in back if isinstance(message, TaskStarted)] == [1, -1, 1, -1]


CODE, COLUMNS = 19, [[0, ["a", "b"]], [1, "stdout"], [0, ["x", "y"]]]


def test_a_table_is_what_the_codec_makes_of_it() -> None:
    assert ENGINE_CODEC.decode([msgpack.packb([[0, CODE, COLUMNS]])]) == [
        TaskLog("a", LogStream.STDOUT, "x"),
        TaskLog("b", LogStream.STDOUT, "y"),
    ]


@pytest.mark.parametrize(
    "table",
    [
        [0, 99, COLUMNS],
        [0, True, COLUMNS],
        [0, "19", COLUMNS],
        [0, CODE, COLUMNS[:2]],
        [0, CODE, [*COLUMNS, [1, 1]]],
        [0, CODE, None],
        [0, CODE, {}],
        [0, CODE, [[1, "a"], *COLUMNS[1:]]],  # the first column says how many there are
        [0, CODE, [[0, []], *COLUMNS[1:]]],
        [0, CODE, [[0, ["a", 1]], *COLUMNS[1:]]],
        [0, CODE, [COLUMNS[0], [1, "stdin"], COLUMNS[2]]],
        [0, CODE, [COLUMNS[0], [2, "stdout"], COLUMNS[2]]],
        [0, CODE, [COLUMNS[0], [1], COLUMNS[2]]],
        [0, CODE, [*COLUMNS[:2], [0, ["x"]]]],
        [0, CODE, [*COLUMNS[:2], [0, ["x", "y", "z"]]]],
        [0, CODE, [*COLUMNS[:2], [2, [[0, ["x", "y"]]]]]],
        [0, CODE, [*COLUMNS[:2], "xy"]],
    ],
    ids=repr,
)
def test_a_malformed_table_is_refused(table: list[Any]) -> None:
    refused(ENGINE_CODEC, [msgpack.packb([table])])


def test_each_task_of_a_malformed_table_is_named_and_no_other_is_spoiled() -> None:
    good = [_sample(TaskStarted)]
    header = [[0, CODE, [*COLUMNS[:2], [0, ["x", 1]]]], *msgpack.unpackb(ENGINE_CODEC.encode(good)[0]), [0, CODE, None]]
    bad: list[str] = []
    assert ENGINE_CODEC.decode([msgpack.packb(header)], lambda task_id, _: bad.append(task_id)) == good
    assert bad == ["a", "b", ""]


@pytest.mark.parametrize("name", CODECS)
def test_an_empty_batch_is_a_header_alone(name: str) -> None:
    codec, _ = CODECS[name]
    frames = codec.encode([])
    assert len(frames) == 1
    assert codec.decode(frames) == []


@pytest.mark.parametrize("size", [0, INLINE_PICKLE, INLINE_PICKLE + 1])
def test_buffers_travel_as_they_are_and_in_order(size: int) -> None:
    pickles = [bytes([i]) * size for i in range(2)]
    first = (b"a" * 7, bytearray(b"b" * 100_000))
    second = (memoryview(b"c" * 5), b"", b"d")
    task = Task("t", Payload(pickles[0], first), Payload(pickles[1], second))
    frames = CLIENT_CODEC.encode([task])

    own = [[pickle] if size > INLINE_PICKLE else [] for pickle in pickles]
    expected = [*own[0], *first, *own[1], *second]
    assert [id(frame) for frame in frames[1:]] == [id(buffer) for buffer in expected]

    (back,) = CLIENT_CODEC.decode(frames)
    assert back == task
    received = [*back.function.buffers, *back.arguments.buffers]
    assert [id(buffer) for buffer in received] == [id(buffer) for buffer in (*first, *second)]


@pytest.mark.parametrize(("codec", "cls"), CLASSES, ids=NAMES)
def test_what_arrives_is_as_frozen_as_what_was_sent(codec: Codec[Any], cls: type) -> None:
    sent = _sample(cls)
    (back,) = codec.decode(codec.encode([sent]))
    assert (type(back), back, repr(back), hash(back)) == (cls, sent, repr(sent), hash(sent))
    assert copy.copy(back) == pickle.loads(pickle.dumps(back)) == sent
    assert not hasattr(back, "__dict__")
    for field in dataclasses.fields(cls):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(back, field.name, None)


class _Plain:
    """A class that is made a dataclass in two ways."""

    first: int
    second: tuple[int, ...] = (2, 3)
    third: list[int] = dataclasses.field(default_factory=list)


def test_a_frozen_class_behaves_as_the_standard_librarys() -> None:
    ours: Any = frozen(type("Record", (), dict(vars(_Plain))))
    standard: Any = dataclasses.dataclass(frozen=True, slots=True)(type("Record", (), dict(vars(_Plain))))

    for kind in (ours, standard):
        with pytest.raises(TypeError, match=r"__init__\(\) missing 1 required positional argument: 'first'"):
            kind()
        with pytest.raises(TypeError, match="unexpected keyword argument 'fourth'"):
            kind(1, fourth=4)
    for arguments in ({"first": 1}, {"first": 1, "second": (), "third": [4]}):
        one, other = ours(**arguments), standard(**arguments)
        assert repr(one) == repr(other)
        assert dataclasses.asdict(one) == dataclasses.asdict(other)
        assert one == dataclasses.replace(one) != dataclasses.replace(one, first=2)
        assert one != other
    assert ours(1).third is not ours(1).third
    assert ours.__match_args__ == standard.__match_args__
    with pytest.raises(dataclasses.FrozenInstanceError):
        del ours(1).first


def test_only_a_class_that_does_nothing_but_keep_its_fields_is_made_quickly() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Checked:
        value: int

        def __post_init__(self) -> None:
            raise ValueError("must not be skipped")

    @dataclasses.dataclass(frozen=True)
    class WithoutSlots:
        value: int

    @dataclasses.dataclass(frozen=True, slots=True)
    class Derived:
        value: int
        twice: int = dataclasses.field(init=False, default=0)

    for refused_class in (Checked, WithoutSlots, Derived):
        for make in (twin, maker):
            with pytest.raises(TypeError):
                make(refused_class)


def test_what_is_made_quickly_is_an_instance_as_any_other() -> None:
    figures = TaskFigures(1.0, 2.0, 0.5, 10, "7", ("gpu",))
    made = maker(TaskFigures)(1.0, 2.0, 0.5, 10, "7", ("gpu",))
    assert type(made) is TaskFigures
    assert made == figures
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.cpu = 1.0  # type: ignore[misc]


# ---------------------------------------------------------------------- what is refused


def spoiled(kind: Any) -> list[Any]:
    """Values that a field of this type must not take."""
    if kind is Payload:
        counts: list[Any] = [[b"x", count, b"", []] for count in (-1, True, False, 1.0, None, 1, 2**63)]
        first = ["x", 1, True, None, [], msgpack.ExtType(1, b"")]
        pickles = [[pickle, 0, b"", []] for pickle in first] + [[None, 1, b"", []]]
        pickles += [[b"x", 0, key, []] for key in ("k", None, 1)]
        good = [0, 1, 2, 3]
        bad: list[Any] = [
            good[:3],
            [*good, 4],
            [1, 1, 2, 3],
            [0, 1, 2, 0],
            [0, -1, 2, 3],
            [0, 1, 2.0, 3],
            [True, 1, 2, 3],
        ]
        strange: list[Any] = [*([one] for one in bad), None, {}, [None], ["abcd"]]
        pickles += [[b"x", 0, b"", segments] for segments in strange]
        return [*counts, *pickles, [b"x"], [b"x", 0, 0], [], "x", None, 0, {}]
    if dataclasses.is_dataclass(kind):
        needs_none = all(field.default is not dataclasses.MISSING for field in dataclasses.fields(kind))
        return [None, 0, "x", [None] * 99, {}] + ([] if needs_none else [[]])
    other = [None, [], [[]], {}, msgpack.ExtType(1, b"")]
    if kind == tuple[int, ...]:
        return [None, 1, "x", b"x", ["x"], [True], [1.0], [None], [[1]], {}]
    if kind == tuple[str, ...]:
        return [None, "x", b"x", 1, [1], [None], ["x", b"y"], [["x"]], {}]
    if kind == tuple[Input, ...]:
        good_value = [b"x", 0, b"", []]
        return [None, "x", 1, {}, [1], [None], ["a", good_value], [[]], [["a"]], [[1, good_value]], [["a", "x"]]]
    if kind == tuple[Capability, ...]:
        return [
            None,
            "x",
            1,
            {},
            [1],
            [None],
            ["gpu", 1],
            [[]],
            [["gpu"]],
            [["gpu", "1"]],
            [[1, "gpu"]],
            [["gpu", 1, 1]],
        ]
    if kind == tuple[TaskBrief, ...]:
        brief: list[Any] = ["t", "f()", "queued", 1.5, 0.0, 3, "", 0.0]
        return [None, "x", 1, {}, [1], [None], brief, [[]], [brief[:3]], [[*brief, 1]], [[1, *brief[1:]]], [["t"] * 8]]
    if issubclass(kind, Enum):
        return [*other, "", "nonsense", next(iter(kind)).name + "?", 0, True, 1.5, b"Success"]
    wrong: dict[Any, list[Any]] = {
        str: [b"x", 1, True, 1.5],
        bytes: ["x", 1, True, 1.5],
        int: [True, False, 1.0, "1", b"1"],
        float: [True, False, "1.0", b"1"],
        bool: [0, 1, "true", 1.0],
    }
    return [*other, *wrong[kind]]


@pytest.mark.parametrize(("codec", "cls"), CLASSES, ids=NAMES)
def test_a_field_of_the_wrong_type_is_refused(codec: Codec[Any], cls: type) -> None:
    hints = get_type_hints(cls)
    sample = _sample(cls)
    (good,) = msgpack.unpackb(codec.encode([sample])[0])
    for place, field in enumerate(dataclasses.fields(cls), start=1):
        kind = hints[field.name]
        for value in spoiled(kind):
            refused(codec, [msgpack.packb([[*good[:place], value, *good[place + 1 :]]])])
        if dataclasses.is_dataclass(kind) and kind is not Payload:
            inner = get_type_hints(kind)
            for at, part in enumerate(dataclasses.fields(kind)):
                for value in spoiled(inner[part.name]):
                    record = [*good[place][:at], value, *good[place][at + 1 :]]
                    refused(codec, [msgpack.packb([[*good[:place], record, *good[place + 1 :]]])])
    needed = [field for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING]
    refused(codec, [msgpack.packb([good[: len(needed)]])])  # the code, and one field less than that
    refused(codec, [msgpack.packb([[*good, None]])])
    assert codec.decode([msgpack.packb([good])]) == [sample]


def _sample(cls: Any) -> Any:
    plain = {
        Payload: Payload(b"x"),
        str: "t",
        int: 3,
        float: 1.5,
        bool: True,
        bytes: b"x",
        tuple[str, ...]: ("x", "y"),
        tuple[int, ...]: (1, 2),
        tuple[Capability, ...]: (Capability("disk", 2), Capability("gpu", 1)),
        tuple[Input, ...]: (Input("a", Payload(b"p")), Input("b", Payload(b"q"))),
    }

    def value(kind: Any) -> Any:
        if kind in plain:
            return plain[kind]
        if get_origin(kind) is tuple:
            return (value(get_args(kind)[0]),)
        return next(iter(kind)) if issubclass(kind, Enum) else _sample(kind)

    hints = get_type_hints(cls)
    return cls(**{field.name: value(hints[field.name]) for field in dataclasses.fields(cls)})


@pytest.mark.parametrize(("codec", "cls"), CLASSES, ids=NAMES)
def test_last_fields_that_have_their_defaults_do_not_travel(codec: Codec[Any], cls: type) -> None:
    sample = _sample(cls)
    plain = [field for field in dataclasses.fields(cls) if field.default is not dataclasses.MISSING]
    for count in range(len(plain) + 1):
        sent = dataclasses.replace(sample, **{each.name: each.default for each in plain[len(plain) - count :]})
        frames = codec.encode([sent])
        (items,) = msgpack.unpackb(frames[0])
        assert len(items) <= 1 + len(dataclasses.fields(cls)) - count
        assert codec.decode(frames) == [sent]


@pytest.mark.parametrize("code", [0, -1, 9, 15, 23, 2**64 - 1, True, 1.0, None, "1", b"\x01", [1], [], {}])
def test_an_unknown_message_code_is_refused(code: Any) -> None:
    for codec, classes in CODECS.values():
        (good,) = msgpack.unpackb(codec.encode([_sample(classes[0])])[0])
        refused(codec, [msgpack.packb([[code, *good[1:]]])])


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xc1",
        b"\xc0",
        b"\x01",
        b"\xa1x",
        b"\x80",
        b"\x81\xa1a\x01",
        b"\x91\x80",
        b"\x91\x90",
        b"\x91\xc0",
        b"\x91\x91\x80",
        b"\x91\x81\x01\x01",
        b"\xc7\x01\x05x",
        b"\x91\xc7\x00\x05",
        b"\xd6\xff\x00\x00\x00\x00",
        b"\x91\xa1\xff",
        b"\x90\x90",
        msgpack.packb([[17] + [0] * 65]),
    ],
    ids=repr,
)
def test_a_header_that_is_no_batch_is_refused(header: bytes) -> None:
    for codec, _ in CODECS.values():
        refused(codec, [header])


def test_no_frames_at_all_are_refused() -> None:
    refused(ENGINE_CODEC, [])


def test_a_header_beyond_the_bound_is_not_even_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    header = ENGINE_CODEC.encode([_sample(TaskLog)])[0]
    monkeypatch.setattr(wire, "MAX_HEADER", len(header))
    assert ENGINE_CODEC.decode([header]) == [_sample(TaskLog)]
    monkeypatch.setattr(wire, "MAX_HEADER", len(header) - 1)
    refused(ENGINE_CODEC, [header])


@pytest.mark.parametrize(
    ("bound", "batch", "size"),
    [
        ("MAX_MESSAGES", [_sample(TaskLog)] * 20, 20),
        ("MAX_FIELD", [dataclasses.replace(_sample(TaskLog), text="x" * 50)], 50),
        ("MAX_FIELD", [dataclasses.replace(_sample(TaskResult), payload=Payload(b"x" * 50))], 50),
    ],
    ids=["messages", "text", "pickle"],
)
def test_counts_and_lengths_are_bounded(
    bound: str, batch: list[Any], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = ENGINE_CODEC.encode(batch)
    monkeypatch.setattr(wire, bound, size)
    assert ENGINE_CODEC.decode(frames) == batch
    monkeypatch.setattr(wire, bound, size - 1)
    refused(ENGINE_CODEC, frames)


@pytest.mark.parametrize(
    "header",
    [
        b"\xdd\xff\xff\xff\xff",  # an array
        b"\x91\xdd\x00\x0f\x42\x41",  # one more than MAX_MESSAGES
        b"\x91\xdc\xff\xff",
        b"\xdf\xff\xff\xff\xff",  # a map
        b"\x91\xdb\xff\xff\xff\xff",  # a text
        b"\x91\xc6\xff\xff\xff\xff",  # bytes
        b"\x91\xc9\xff\xff\xff\xff\x01",  # an ext type
        msgpack.packb([[18, "t", "Success", [b"x", 2**62, b"", []], [0.0, 0.0, 0.0, 0]]]),  # frames of a payload
    ],
    ids=lambda header: header[:6].hex(),
)
def test_declared_lengths_are_not_believed(header: bytes) -> None:
    tracemalloc.start()
    try:
        refused(ENGINE_CODEC, [header, b"frame"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("depth", [10, 500, 900, 1000, 1010, 1020, 1024, 100_000])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (b"\x91\x91", b""),  # in place of a code
        (b"\x91\x94\x11", b"\xa8Canceled\xc3"),  # of a text
        (b"\x91\x94\x11\xa1t", b"\xc3"),  # of an enum's value
        (b"\x91\x94\x11\xa1t\xa8Canceled", b""),  # of a bool
        (b"\x91\x95\x12\xa1t\xa7Success", b"\x94\x00\x00\x00\x00"),  # of a payload
    ],
    ids=["header", "code", "text", "enum", "bool", "payload"],
)
def test_deep_nesting_is_refused_wherever_it_stands(depth: int, before: bytes, after: bytes) -> None:
    refused(ENGINE_CODEC, [before + b"\x91" * depth + b"\xc0" + after])


# ---------------------------------------------------------------------- spoilt batches

ENGINE_BATCHES = batches(CODECS["engine"][1])


@given(ENGINE_BATCHES, st.data())
def test_frames_that_lack_or_exceed_are_refused(batch: list[Any], data: st.DataObject) -> None:
    frames = ENGINE_CODEC.encode(batch)
    head = bytes(frames[0])
    refused(ENGINE_CODEC, [head[: data.draw(st.integers(0, len(head) - 1))], *frames[1:]])
    refused(ENGINE_CODEC, [head + data.draw(st.binary(min_size=1, max_size=5)), *frames[1:]])
    refused(ENGINE_CODEC, [*frames, b""])
    if len(frames) > 1:
        refused(ENGINE_CODEC, frames[:-1])


@given(ENGINE_BATCHES, st.data())
def test_changed_bytes_never_raise_anything_else(batch: list[Any], data: st.DataObject) -> None:
    frames = ENGINE_CODEC.encode(batch)
    head = bytearray(frames[0][:4000])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(head) - 1))
        head[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        if not head:
            break
    survives([bytes(head), *frames[1:]])


@given(st.binary(max_size=80), st.lists(st.binary(max_size=5), max_size=2))
def test_random_bytes_never_raise_anything_else(header: bytes, rest: list[bytes]) -> None:
    survives([header, *rest])


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.sampled_from(["Success", "Canceled", "stdout", "failed", msgpack.ExtType(3, b"x"), 0, 1, 2, 3, 16, 17, 18, 19])
)
LISTS_AND_MAPS = lambda inner: st.lists(inner, max_size=5) | st.builds(lambda v: {"k": v}, inner)  # noqa: E731
TREES = st.recursive(LEAVES, LISTS_AND_MAPS, max_leaves=8)
HEADERS = st.lists(TREES | st.lists(TREES, max_size=6), max_size=3)


@given(HEADERS, st.lists(st.binary(max_size=5), max_size=2))
def test_random_structures_never_raise_anything_else(header: list[Any], rest: list[bytes]) -> None:
    survives([msgpack.packb(header), *rest])


def test_an_integer_serves_as_a_float_of_the_same_value() -> None:
    figures = [1, 2, 3, 4, "7", []]
    (result,) = ENGINE_CODEC.decode(
        [
            msgpack.packb(
                [[18, "t", TaskResultType.FAILED.value, [b"", 0, b"", []], figures, ["", "none"], "", [-1, 0, False]]]
            )
        ]
    )
    assert isinstance(result, TaskResult)
    assert [type(value) for value in (result.figures.started, result.figures.cpu)] == [float, float]


def test_a_malformed_message_spoils_no_other() -> None:
    good = [_sample(TaskStarted), dataclasses.replace(_sample(TaskResult), payload=Payload(b"x"))]
    header = msgpack.unpackb(ENGINE_CODEC.encode(good)[0])
    header[1:1] = [[16, "late", "no time"], [99, "unknown code"], [18, "bad enum", "Perhaps", None, None], [7], "x"]
    bad: list[str] = []
    assert ENGINE_CODEC.decode([msgpack.packb(header)], lambda task_id, _: bad.append(task_id)) == good
    assert bad == ["late", "unknown code", "bad enum", "", ""]


def test_frames_behind_a_malformed_message_are_given_to_nobody() -> None:
    with_frames = dataclasses.replace(_sample(TaskResult), task_id="large", payload=Payload(b"x", (b"buffer",)))
    head, *frames = ENGINE_CODEC.encode([_sample(TaskStarted), with_frames, _sample(TaskStarted)])
    header = msgpack.unpackb(head)
    header[0][2] = None
    bad: list[str] = []
    kept = ENGINE_CODEC.decode([msgpack.packb(header), *frames], lambda task_id, _: bad.append(task_id))
    assert kept == [_sample(TaskStarted)]
    assert bad == ["t", "large"]
