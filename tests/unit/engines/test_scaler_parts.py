"""The parts of the engine for Scaler clusters that can be held alone: what travels, and what a worker loads."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import pickle
import queue
import signal
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interpreters import python
from scaler.protocol import capnp
from scaler.utility.exceptions import ProcessorDiedError, SchedulerError, WorkerDiedError
from scaler.utility.exitcode import describe_exitcode
from waits import SAFETY

from scaler_notebook.engines.scaler.client import events
from scaler_notebook.engines.scaler.client.object_store import MAX_IDLE, OVERHEAD, ObjectStore
from scaler_notebook.engines.scaler.client.results import fetch_result
from scaler_notebook.engines.scaler.client.states import TABLE, ScalerAction, ScalerStage
from scaler_notebook.engines.scaler.wire import inband_events
from scaler_notebook.engines.scaler.wire.envelope import (
    CLOCKS_DIFFER,
    ResultHeader,
    TaskFailedError,
    TaskHeader,
    failure,
)
from scaler_notebook.engines.scaler.wire.packing import COUNT, MAGIC, SIZE, content, pack, unpack
from scaler_notebook.engines.scaler.wire.task_names import name_of, task_of
from scaler_notebook.engines.scaler.worker import output
from scaler_notebook.engines.scaler.worker.cancel_mailbox import CancelMailbox
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import DisplayKind, Payload, Task, TaskResultType
from scaler_notebook.task.task_end import TaskEnd

# ---------------------------------------------------------------------- packing

BUFFERS = st.lists(st.binary(max_size=40), max_size=4)


@given(header=st.binary(max_size=20), data=st.binary(max_size=40), buffers=BUFFERS)
def test_what_is_packed_comes_out(header: bytes, data: bytes, buffers: list[bytes]) -> None:
    packed = pack(Payload(data, tuple(buffers)), header)
    assert pickle.loads(packed) == bytes(content(packed)), "Scaler's workers unpickle what they fetch"
    for blob in (content(packed), pickle.loads(packed)):
        found, payload = unpack(blob)
        assert (found, payload.data, [*map(bytes, cast(Any, payload.buffers))]) == (header, data, buffers)


def test_buffers_of_any_form_come_out_as_bytes_that_may_be_written_to() -> None:
    whole = memoryview(bytes(range(24))).cast("B", (4, 6))
    _, payload = unpack(content(pack(Payload(b"", cast(Any, (whole, memoryview(bytearray(8)).cast("d")))))))
    first, second = cast(Any, payload.buffers)
    assert bytes(first) == bytes(range(24))
    second[0] = 7
    assert bytes(second) == b"\7" + bytes(7)


def harmless(load: Callable[[Any], object], garbage: Any) -> None:
    """It is read, or refused, and nothing else."""
    with contextlib.suppress(ProtocolError):
        load(garbage)


@given(st.binary(max_size=80), st.booleans())
def test_what_was_not_packed_is_a_protocol_error(garbage: bytes, with_magic: bool) -> None:
    harmless(unpack, b"SNB1" * with_magic + garbage)
    harmless(unpack, content(garbage))


@given(st.data())
def test_what_is_damaged_is_a_protocol_error_or_other_content(data: st.DataObject) -> None:
    packed = bytearray(pack(Payload(b"data", (b"one", b"two")), b"header"))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(packed)))
    harmless(unpack, content(packed))
    harmless(unpack, content(packed[:end]))


@pytest.mark.parametrize("change", [slice(0, -1), slice(1, None), slice(0, 3), slice(0, 0)])
def test_what_is_cut_is_refused(change: slice) -> None:
    whole = bytes(content(pack(Payload(b"data", (b"one",)), b"header")))
    with pytest.raises(ProtocolError):
        unpack(whole[change])


@pytest.mark.parametrize("sizes", [[], [0]])
def test_header_and_pickle_are_always_there(sizes: list[int]) -> None:
    with pytest.raises(ProtocolError):
        unpack(COUNT.pack(MAGIC, len(sizes)) + b"".join(map(SIZE.pack, sizes)))


# ---------------------------------------------------------------------- objects


class Stored:
    """In place of a connection: a storage that answers at once."""

    def __init__(self) -> None:
        self.objects: dict[bytes, bytes] = {}
        self.messages = capnp
        self._numbers = itertools.count()

    async def put(self, blob: bytes) -> bytes:
        object_id = next(self._numbers).to_bytes(32, "big")
        self.objects[object_id] = blob
        return object_id

    async def get(self, object_id: bytes) -> bytes:
        return self.objects[object_id]

    def delete(self, object_ids: list[bytes]) -> None:
        for object_id in object_ids:
            del self.objects[object_id]


PAYLOADS = st.builds(Payload, st.binary(max_size=3), st.lists(st.binary(max_size=3), max_size=3).map(tuple))


@given(st.lists(st.tuples(PAYLOADS, st.binary(max_size=2)), min_size=2, max_size=6))
def test_what_is_the_same_is_stored_once_and_nothing_else_is(wanted: list[tuple[Payload, bytes]]) -> None:
    async def acquire() -> None:
        stored = Stored()
        objects = ObjectStore(stored, asyncio.get_running_loop())  # type: ignore[arg-type]
        ids = [(await objects.acquire(payload, header))[1] for payload, header in wanted]
        for (payload, header), object_id in zip(wanted, ids, strict=True):
            assert await objects.get(object_id) == (
                header,
                Payload(payload.data, tuple(map(bytearray, cast(Any, payload.buffers)))),
            )
        assert len(stored.objects) == len(set(wanted))

    asyncio.run(acquire())


def test_what_nobody_uses_is_kept_for_a_while_the_oldest_the_shortest() -> None:
    async def use() -> None:
        stored, loop = Stored(), asyncio.get_running_loop()
        objects = ObjectStore(stored, loop)  # type: ignore[arg-type]
        third = MAX_IDLE // 3 - OVERHEAD
        keys = [await objects.acquire(Payload(bytes([n]) * third)) for n in range(4)]
        for key, _ in keys[:2]:
            objects.release(key)
        await objects.acquire(Payload(b"\0" * third))  # in use again, so the second is the oldest
        for key, _ in keys[2:]:
            objects.release(key)
        objects.release(keys[0][0])
        objects._delete_all()
        assert [key for _, key in keys if key not in stored.objects] == [keys[1][1]]
        assert objects._idle_size <= MAX_IDLE

    asyncio.run(use())


# ---------------------------------------------------------------------- signs

MAILBOX = "ab" * 32
EVENTS: list[inband_events.InbandEvent] = [
    inband_events.StartedEvent(7, "there"),
    inband_events.StartedEvent(7, "there", MAILBOX),
    inband_events.MailboxEvent(MAILBOX),
    inband_events.StoppedEvent(),
    inband_events.EndedEvent("{}"),
    inband_events.ProgressEvent(1, 2.5, "half ü \x07\n"),
    inband_events.ProgressEvent(1, 2.5, "", 12.1, "batch"),
    inband_events.DisplayEvent(DisplayKind.SHOW.value, "id", '{"text/plain": "x"}', "{}"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_a_sign_is_read_as_it_was_written(event: inband_events.InbandEvent) -> None:
    assert inband_events.decode(inband_events.encode(event)) == event


@given(st.text())
def test_output_is_no_sign(text: str) -> None:
    assert text.startswith(inband_events.BEGIN) or inband_events.decode(text) is None
    assert inband_events.decode(f"x{text}{inband_events.encode(inband_events.StoppedEvent())}") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.sampled_from([type(event).__name__ for event in EVENTS]), st.data())
def test_what_looks_like_a_sign_is_one_or_a_protocol_error(kind: str, data: st.DataObject) -> None:
    [*fields] = next(type(event) for event in EVENTS if type(event).__name__ == kind).__dataclass_fields__
    values = {name: data.draw(JSON) for name in fields}
    for what in ([kind, values], [kind, data.draw(JSON)], data.draw(JSON)):
        harmless(inband_events.decode, f"{inband_events.BEGIN}{json.dumps(what)}{inband_events.END}")


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        '["StartedEvent", {}]',
        '["StartedEvent", {"pid": 1, "host": 2}]',
        '["StartedEvent", {"pid": 1, "host": "there", "mailbox": "zz"}]',
        '["MailboxEvent", {"mailbox": "abcd"}]',
        '["ProgressEvent", {"done": 1%s, "total": 2, "note": ""}]' % ("0" * 400),
        '["ProgressEvent", {"done": 1, "total": null, "note": ""}]',
        '["DisplayEvent", {"kind": "none", "display_id": "", "bundle": "", "metadata": ""}]',
        '["_KINDS", {}]',
        "[" * 100_000,
    ],
)
def test_what_is_no_sign_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="cannot be read"):
        inband_events.decode(f"{inband_events.BEGIN}{text}{inband_events.END}")


# ---------------------------------------------------------------------- envelope


def test_a_head_is_read_as_it_was_written() -> None:
    head = TaskHeader("f(x)", ["a", "b"], "00ff", True, "me", "prepare()")
    assert TaskHeader.decode(head.encode()) == head
    with pytest.raises(ProtocolError):
        TaskHeader("f(x)", [b"a"]).encode()  # type: ignore[list-item]


@given(st.fixed_dictionaries(dict.fromkeys(("how", "started", "ended", "cpu", "peak_rss"), JSON)) | JSON)
def test_an_end_is_read_or_refused(values: Any) -> None:
    try:
        ended = ResultHeader.decode(json.dumps(values))
    except ProtocolError:
        return
    ended.figures()


@pytest.mark.parametrize("field", ["how", "started", "ended", "cpu", "peak_rss"])
def test_an_end_of_wrong_types_is_refused(field: str) -> None:
    values: dict[str, Any] = {"how": "success", "started": 1.0, "ended": 2.0, "cpu": 0.5, "peak_rss": 7}
    ResultHeader.decode(json.dumps(values))
    values[field] = ["x"]
    with pytest.raises(ProtocolError):
        ResultHeader.decode(json.dumps(values))


def test_figures_are_by_this_machines_clock() -> None:
    now = time.time()
    right = ResultHeader("success", now - 2.0, now, 0.5, 7)
    assert ResultHeader.decode(right.encode()) == right
    assert right.figures().ended == now
    ahead = ResultHeader("success", now + 98.0, now + 100.0, 0.5, 7).figures()
    assert ahead.ended - ahead.started == pytest.approx(2.0)
    assert ahead.ended <= time.time() + CLOCKS_DIFFER


RAN: list[str] = []


class Foreign:
    """Pickles as a call."""

    def __init__(self, function: Any, *args: Any) -> None:
        self._call = function, args

    def __reduce__(self) -> Any:
        return self._call


def stolen(module: str, name: str) -> bytes:
    """A pickle that calls what it finds under a dotted name, with "eval", and what that gives, with a line of code."""
    code = f"__import__({__name__!r}).RAN.append(1)"

    def text(words: str) -> bytes:
        return pickle.SHORT_BINUNICODE + bytes([len(words)]) + words.encode()

    call = pickle.STACK_GLOBAL + text("eval") + pickle.TUPLE1 + pickle.REDUCE + text(code) + pickle.TUPLE1
    return b"\x80\x04" + text(module) + text(name) + call + pickle.REDUCE + b"."


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Foreign(RAN.append, "it ran")),
        pickle.dumps(Foreign(eval, f"__import__({__name__!r}).RAN.append(1)")),
        pickle.dumps(Foreign(exec, f"__import__({__name__!r}).RAN.append(1)")),
        stolen("scaler.utility.exceptions", "__builtins__.get"),
        stolen("builtins", "__dict__.get"),
    ],
)
def test_a_failure_runs_no_foreign_code(data: bytes) -> None:
    RAN.clear()
    with pytest.raises(ProtocolError):
        failure(data)
    assert RAN == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        pickle.dumps("no error"),
        pickle.dumps(TaskFailedError),
        pickle.dumps(TaskFailedError(7, "words")),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_failure_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="the cluster tells of a failure"):
        failure(data)


@pytest.mark.parametrize("data", [b"Nr\xff\xff\xff\x00.", b"Np16777215\n."])
def test_a_place_in_the_memo_beyond_the_pickle_takes_no_memory(data: bytes) -> None:
    """Larger ones would take more than there is: the system would kill the kernel."""
    with pytest.raises(ProtocolError, match="place 16777215 of the memo"):
        failure(data)


@given(st.binary(max_size=60))
def test_garbage_is_a_protocol_error(data: bytes) -> None:
    harmless(failure, data)
    harmless(failure, b"\x80\x04" + data)


def test_errors_as_scalers_workers_pickle_them_are_read() -> None:
    """With tblib: tracebacks, causes and notes."""
    code = """
import tblib.pickling_support
tblib.pickling_support.install()
from scaler.utility.serialization import serialize_failure
from scaler.utility.exceptions import ProcessorDiedError
from scaler_notebook.engines.scaler.wire.envelope import TaskFailedError
def raised(error):
    try:
        try:
            {}["cause"]
        except KeyError as cause:
            raise error from cause
    except BaseException as problem:
        return serialize_failure(problem)
class Local(Exception): pass
missing = ModuleNotFoundError("No module named 'x'", name="x")
failed = TaskFailedError(b"blob", "words")
for error in failed, ProcessorDiedError("exitcode=-9"), RuntimeError("no"), missing, Local("mine"):
    print(raised(error).hex())
"""
    failed, *others, local = (bytes.fromhex(line) for line in python(code).split())
    error = failure(failed)
    assert isinstance(error, TaskFailedError)
    assert (error.blob, str(error)) == (b"blob", "words")
    expected = ProcessorDiedError("exitcode=-9"), RuntimeError("no"), ModuleNotFoundError("No module named 'x'")
    assert [repr(failure(other)) for other in others] == [*map(repr, expected)]
    with pytest.raises(ProtocolError, match="Local"):
        failure(local)


# ---------------------------------------------------------------------- ends

RESULTS = capnp.TaskResultType
TASK = Task("t1", Payload(b""), Payload(b""))


def end(kind: Any, stored: bytes | None, ended: ResultHeader | None = None, task: Task = TASK) -> Any:
    """What is told of a result; the storage has this under its id."""

    async def tell() -> Any:
        connection = Stored()
        ids = [await connection.put(stored)] if stored is not None else []
        result = SimpleNamespace(resultType=kind, results=ids)
        objects = ObjectStore(connection, asyncio.get_running_loop())  # type: ignore[arg-type]
        return await fetch_result(task, result, ended, objects, connection)  # type: ignore[arg-type]

    return asyncio.run(tell())


@pytest.mark.parametrize(
    ("code", "words", "death"),
    [
        (-9, "killed by SIGKILL", (-1, 9)),
        (-signal.SIGSEGV, "killed by SIGSEGV", (-1, signal.SIGSEGV)),
        (-63, "killed by signal 63", (-1, 63)),
        (3, "it exited with code 3", (3, 0)),
        (0, "it exited with code 0", (0, 0)),
        (None, "the task's process at its worker died", (-1, 0)),
    ],
)
@pytest.mark.parametrize("error", [ProcessorDiedError, WorkerDiedError])
def test_how_a_process_died_is_told(
    code: int | None, words: str, death: tuple[int, int], error: type[Exception]
) -> None:
    stored = pickle.dumps(error(f"process_status='zombie' exitcode={describe_exitcode(code)}"))
    told = end(RESULTS.failed, stored).message
    assert told.outcome is TaskResultType.FAILED_WORKER_DIED
    assert words in bytes(told.payload.data).decode()
    assert (told.process_exit.exit_code, told.process_exit.signal) == death


def test_an_error_of_scalers_own_is_told_as_such() -> None:
    told = end(RESULTS.failed, pickle.dumps(SchedulerError("it failed"))).message
    assert told.outcome is TaskResultType.FAILED
    headline = payloads.load(told.payload).links[0].headline
    assert "the cluster could not run it: SchedulerError: it failed" in headline


@pytest.mark.parametrize(
    ("how", "outcome", "again"),
    [
        (TaskEnd.FAILED.value, TaskResultType.FAILED, True),
        (TaskEnd.FAILED_FOR_GOOD.value, TaskResultType.FAILED, False),
        (TaskEnd.UNPREPARED.value, TaskResultType.FAILED_INITIALIZER, False),
    ],
)
def test_how_a_task_failed_is_told(how: str, outcome: TaskResultType, again: bool) -> None:
    blob = pack(Payload(b"described"), ResultHeader(how, 1.0, 2.0, 0.5, 7).encode())
    told = end(RESULTS.failed, pickle.dumps(TaskFailedError(blob, "words")))
    assert (told.message.outcome, told.to_retry, told.words) == (outcome, again, "words")
    assert told.message.payload.data == b"described"
    assert told.message.figures.cpu == 0.5


def test_a_value_that_stays_is_not_fetched() -> None:
    ended = ResultHeader(TaskEnd.SUCCESS.value, 1.0, 2.0, 0.5, 7)
    task = Task("t1", Payload(b""), Payload(b""), omit_value=True)
    told = end(RESULTS.success, b"nothing of ours", ended, task)
    assert (told.message.payload.data, told.message.figures.peak_rss) == (b"", 7)
    assert end(RESULTS.success, pack(Payload(b"x"), ended.encode())).message.payload.data == b"x"


def test_the_name_at_the_cluster_tells_the_task() -> None:
    assert name_of("t1") != name_of("t1")
    assert task_of(name_of("t1").decode()) == "t1"


# ---------------------------------------------------------------------- output


class Delay:
    """In place of a delayed call: rings when it is told to."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.call: Callable[[], object] | None = None

    def schedule(self, call: Callable[[], object]) -> None:
        self.call = call

    def cancel(self) -> None:
        self.call = None

    def ring(self) -> None:
        call, self.call = self.call, None
        assert call is not None
        call()


class Heard(io.StringIO):
    """A stream of Scaler's, each ``write`` a message."""

    def __init__(self, name: str, said: list[tuple[str, str]]) -> None:
        super().__init__()
        self._words, self._said = name, said

    def write(self, text: str) -> int:
        self._said.append((self._words, text))
        return len(text)


class Speech:
    """An output writer, and what it has written; its pace is so slow that it only writes when it is told to."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []
        self.start_call, self.pace = Delay(1.0), Delay(3600.0)
        out, err = Heard("out", self.said), Heard("err", self.said)
        delays: Any = self.start_call, self.pace
        self.writer = output.OutputWriter(out, err, lambda: inband_events.StartedEvent(7, "there"), *delays)
        self.writer.begin()

    def heard(self) -> list[Any]:
        """In short; an event by its kind."""
        read = [(name, inband_events.decode(text), text) for name, text in self.said]
        return [type(event).__name__ if event is not None else (name, text) for name, event, text in read]


def test_the_start_is_said_before_anything_else_once() -> None:
    speech = Speech()
    speech.writer.stdout.write("one\n")
    speech.writer.stderr.write("two\n")
    speech.writer.close()
    assert speech.heard() == ["StartedEvent", ("out", "one\n"), ("err", "two\n")]


def test_the_start_is_said_after_a_while_or_not_at_all() -> None:
    silent, short = Speech(), Speech()
    silent.start_call.ring()
    assert silent.heard() == ["StartedEvent"]
    short.writer.close()
    assert short.start_call.call is None
    assert short.heard() == []


def test_what_comes_fast_goes_together_and_in_order() -> None:
    speech = Speech()
    speech.writer.send_event(inband_events.StoppedEvent())  # has spoken just now
    for text in ("a", "b"):
        speech.writer.stdout.write(text)
    speech.writer.stderr.write("c")
    speech.writer.stdout.write("d")
    for done in (1, 2):
        speech.writer.report(done, 2, "")
    assert speech.heard() == ["StartedEvent", "StoppedEvent"]
    speech.pace.ring()
    assert speech.heard()[2:] == [("out", "ab"), ("err", "c"), ("out", "d"), "ProgressEvent"]
    assert inband_events.decode(speech.said[-1][1]) == inband_events.ProgressEvent(2, 2, ""), "the last report"


def test_after_its_end_it_is_silent() -> None:
    speech = Speech()
    speech.writer.close()
    speech.writer.stdout.write("late\n")
    speech.writer.report(1, 2, "")
    speech.writer.send_event(inband_events.StoppedEvent())
    speech.writer._send_started()
    assert speech.said == []


def test_of_a_flood_head_and_tail_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "MAX_OUTPUT", 10)
    monkeypatch.setattr(output, "MAX_TAIL", 4)
    speech = Speech()
    for number in range(10):
        speech.writer.stdout.write(f"{number}{number}")
    speech.writer.close()
    words = "".join(text for _, text in speech.said[1:])
    assert words.startswith("0011223344\n[… ")
    assert words.endswith(" dropped …]\n8899")


def test_what_has_no_form_on_the_wire_is_replaced() -> None:
    speech = Speech()
    speech.writer.stdout.write("\ud800\n")
    speech.writer.close()
    assert speech.heard()[1] == ("out", "?\n")


def test_threads_write_whole_pieces() -> None:
    speech = Speech()
    speech.writer.send_event(inband_events.StoppedEvent())

    def write(letter: str) -> None:
        for _ in range(200):
            speech.writer.stdout.write(f"{letter * 10}\n")

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SAFETY)
    speech.writer.close()
    lines = "".join(text for name, text in speech.said[2:]).splitlines()
    assert sorted(lines) == sorted(letter * 10 for letter in "abcd" for _ in range(200))


def test_a_delayed_call_is_made_once_and_is_the_last_that_was_scheduled() -> None:
    """In a process of its own, for its thread ends with that."""
    code = """
import threading
from types import SimpleNamespace
from scaler_notebook.engines.scaler.worker import delayed_call as module
sleeps, wakes, rang, said = threading.Semaphore(0), threading.Semaphore(0), threading.Semaphore(0), []
module.time = SimpleNamespace(sleep=lambda delay: (sleeps.release(), wakes.acquire()))
delayed = module.DelayedCall(0.01)
def ringing(words):
    return lambda: (said.append(words), rang.release())
def asleep():
    assert sleeps.acquire(timeout=20)
delayed.schedule(ringing("cleared"))
asleep()
delayed.cancel()
wakes.release()
delayed.schedule(ringing("replaced"))
asleep()
delayed.schedule(ringing("first"))
wakes.release()
asleep()
wakes.release()
assert rang.acquire(timeout=20)
delayed.schedule(ringing("second"))
asleep()
wakes.release()
assert rang.acquire(timeout=5)
print(said, [thread.name for thread in threading.enumerate()].count("scaler_notebook delayed call"))
"""
    assert python(code) == "['first', 'second'] 1\n"


# ---------------------------------------------------------------------- mailbox


class Letters:
    """In place of a connector to the storage: keeps a ``get`` waiting, and is gone when it is told so."""

    def __init__(self) -> None:
        self.letters: queue.Queue[bytes | None] = queue.Queue()
        self.names: list[str] = []  # that were waited for
        self.deleted: list[str] = []

    def get_object(self, name: bytes) -> bytes:
        self.names.append(name.hex())
        letter = self.letters.get(timeout=SAFETY)
        if letter is None:
            raise ConnectionError("gone")
        return letter

    def delete_object(self, name: bytes) -> None:
        self.deleted.append(name.hex())


def test_a_mailbox_is_good_for_one_letter_and_has_another_name_for_the_next() -> None:
    said: list[tuple[str, ...]] = []
    storage = Letters()
    asked = threading.Semaphore(0)

    def ask(name: str) -> None:
        said.append(("asks", name, mailbox.name))
        asked.release()

    def moved() -> None:
        said.append(("moved", mailbox.name))

    mailbox = CancelMailbox(storage, ask, moved)
    first = mailbox.name
    assert len(bytes.fromhex(first)) == 32
    for letter in (b"t1/1", b"t2/2"):
        storage.letters.put(letter)
        assert asked.acquire(timeout=SAFETY)
    storage.letters.put(None)
    for thread in [each for each in threading.enumerate() if each.name == "scaler_notebook mailbox"]:
        thread.join(SAFETY)
    one, two, three = storage.names
    assert one == first
    assert len({one, two, three}) == 3
    assert said == [("moved", two), ("asks", "t1/1", two), ("moved", three), ("asks", "t2/2", three)]
    assert storage.deleted == [one, two]
    assert mailbox.name == "", "nobody can be asked any more"


# ---------------------------------------------------------------------- the stages

HAPPENINGS: set[type[events.ScalerEvent]] = set(get_args(events.ScalerEvent))
STAGES = [stage for stage in ScalerStage if stage is not ScalerStage.OVER]


def test_every_stage_knows_every_event() -> None:
    assert TABLE.keys() == set(itertools.product(STAGES, HAPPENINGS))


def test_every_action_is_used_and_every_event_and_stage_has_a_use() -> None:
    idle = {ScalerAction.NOT_PERMITTED, ScalerAction.IGNORE}
    assert set(TABLE.values()) == set(ScalerAction)
    assert {event for (_, event), action in TABLE.items() if action not in idle} == HAPPENINGS
    assert {stage for (stage, _), action in TABLE.items() if action not in idle} == set(STAGES)


def test_every_stage_is_reached_from_the_first_and_reaches_the_last() -> None:
    follows = {(stage, to) for (stage, _), action in TABLE.items() for to in action.to}
    reached, ends = {ScalerStage.WAITING}, {ScalerStage.OVER}
    for _ in ScalerStage:
        reached |= {to for stage, to in follows if stage in reached}
        ends |= {stage for stage, to in follows if to in ends}
    assert reached == set(ScalerStage)
    assert ends == set(ScalerStage)


@pytest.mark.parametrize("event", [events.StopRequested, events.StopForced])
def test_a_request_is_permitted_in_every_stage(event: type[events.ScalerEvent]) -> None:
    assert ScalerAction.NOT_PERMITTED not in {TABLE[stage, event] for stage in STAGES}
