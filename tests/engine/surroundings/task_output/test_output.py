"""What tasks write: in order, whole, theirs alone, and within bounds."""

from __future__ import annotations

import ctypes
import itertools
import json
import logging
import math
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from waits import SAFETY, until_written

from scaler_notebook import NotebookExecutor, ProcessorDiedError, ScalerFuture
from scaler_notebook.client.task_state.output import Display, Output
from scaler_notebook.engines.local.ipc import output_pipes
from scaler_notebook.engines.local.ipc.output_pipes import HEAD, TAIL, OutputPipe, encode_mark
from scaler_notebook.engines.local.ipc.output_records import KINDS, RECORD, RecordKind
from scaler_notebook.engines.local.scheduler import task_output
from scaler_notebook.engines.local.scheduler.task_output import TaskOutput
from scaler_notebook.protocol.messages import DisplayKind, LogStream, Payload, TaskDisplay, TaskLog
from scaler_notebook.task.display import display_buffer
from scaler_notebook.task.display.display_publisher import publish

OUT, ERR = LogStream

# ---------------------------------------------------------------------- one stream


@pytest.fixture
def pipe() -> Iterator[OutputPipe]:
    opened = OutputPipe()
    yield opened
    opened.close()


def read(pipe: OutputPipe) -> str:
    """What has come, as a look has it."""
    pipe.read()
    return pipe.take_rest()


def fill(pipe: OutputPipe, data: bytes) -> str:
    """Write more than a pipe holds; gives what looks had meanwhile."""
    seen = ""
    for start in range(0, len(data), 4096):
        os.write(pipe.write_fd, data[start : start + 4096])
        if not start % (16 * 4096):
            seen += read(pipe)
    return seen + read(pipe)


@given(st.text(max_size=30), st.lists(st.integers(0, 120), max_size=8), st.booleans())
def test_text_is_whole_however_its_bytes_are_cut(text: str, cuts: list[int], with_marks: bool) -> None:
    data, pipe = text.encode(), OutputPipe()
    try:
        places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        parts = []
        for number, (start, end) in enumerate(itertools.pairwise(places)):
            os.write(pipe.write_fd, data[start:end])
            if with_marks:
                os.write(pipe.write_fd, encode_mark(number))
                pipe.read()
                parts.append(pipe.take_before(number))
            else:
                parts.append(read(pipe))
            assert "".join(parts) == data[:end].decode(errors="ignore")
        assert read(pipe) == ""
    finally:
        pipe.close()


def test_a_character_across_two_reads_is_whole(pipe: OutputPipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_pipes, "READ", 1000)
    text = "x" + "€" * 5000
    os.write(pipe.write_fd, text.encode())
    assert read(pipe) == text


@pytest.mark.parametrize("size", range(1, 60))
def test_a_mark_across_two_reads_is_a_mark(pipe: OutputPipe, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_pipes, "READ", size)
    os.write(pipe.write_fd, b"before" + encode_mark(7) + b"between" + encode_mark(8) + b"after\x1b_sc")
    pipe.read()
    assert [pipe.take_before(7), pipe.take_before(8), pipe.take_rest()] == ["before", "between", "after\x1b_sc"]


def test_a_mark_that_nobody_tells_of_holds_text_back_for_one_look(pipe: OutputPipe) -> None:
    os.write(pipe.write_fd, b"a" + encode_mark(1) + b"b" + encode_mark(2) + b"c")
    assert [read(pipe), read(pipe)] == ["a", "bc"]
    os.write(pipe.write_fd, b"d" + encode_mark(3) + b"e" + encode_mark(4) + b"f")
    pipe.read()
    assert [pipe.take_before(4), pipe.take_rest()] == ["de", "f"], "one that is told of passes those before it"
    os.write(pipe.write_fd, b"g" + encode_mark(5) + b"h")
    pipe.read()
    assert [pipe.take_before(99), pipe.take_end()] == ["g", "h"], "where a mark was not written, the next one counts"


def test_what_is_no_utf8_is_replaced(pipe: OutputPipe) -> None:
    os.write(pipe.write_fd, b"a\xffb")
    assert read(pipe) == "a�b"


def test_all_writers_append(pipe: OutputPipe) -> None:
    os.write(pipe.write_fd, b"1")
    subprocess.run(["/bin/sh", "-c", "printf 2; printf 3 >/dev/stdout"], stdout=pipe.write_fd, check=True, timeout=10)
    os.write(pipe.write_fd, b"4")
    assert read(pipe) == "1234"


def test_starting_over_forgets_what_was_not_read_and_half_a_character(pipe: OutputPipe) -> None:
    os.write(pipe.write_fd, "old €".encode()[:-1])
    assert read(pipe) == "old "
    os.write(pipe.write_fd, b"unread" + encode_mark(1))
    pipe.reset()
    os.write(pipe.write_fd, "€new".encode())
    assert read(pipe) == "€new"
    pipe.reset()
    os.write(pipe.write_fd, b"never looked at")
    pipe.reset()
    assert read(pipe) == ""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_pipes, "HEAD", 8)
    monkeypatch.setattr(output_pipes, "TAIL", 6)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("looks", [False, True], ids=["one look", "a look after each byte"])
@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("12345678", "12345678"),
        ("12345678abcdef", "12345678abcdef"),
        ("12345678abcdefg", "12345678\n[… 1 byte of output dropped …]\nbcdefg"),
        ("1234567\nabcdefg", "1234567\n[… 1 byte of output dropped …]\nbcdefg"),
        ("12345678abcdef\nhi\n", "12345678\n[… 7 bytes of output dropped …]\nhi\n"),  # a whole line first
        ("1234567€€y", "1234567€€y"),
        ("1234567€€€€", "1234567\n[… 5 bytes of output dropped …]\n€€"),  # a cut character is no character
        ("12345678€€yz€", "12345678\n[… 6 bytes of output dropped …]\nyz€"),
    ],
)
def test_a_flood_keeps_its_head_and_its_tail(pipe: OutputPipe, written: str, kept: str, looks: bool) -> None:
    text = ""
    for byte in written.encode():
        os.write(pipe.write_fd, bytes([byte]))
        text += read(pipe) if looks else ""
    text += read(pipe)
    assert len(text.encode()) <= 8
    assert text + pipe.take_end() == kept
    pipe.reset()
    os.write(pipe.write_fd, b"next task")
    assert read(pipe) + pipe.take_end() == "next task"


def test_what_will_be_dropped_is_not_kept(pipe: OutputPipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_pipes, "HEAD", 100_000)
    monkeypatch.setattr(output_pipes, "TAIL", 50_000)
    seen = fill(pipe, b"x" * 1_000_000)
    assert len(seen) == 100_000
    assert sum(map(len, pipe._tail)) < 50_000 + output_pipes.LONGEST_LINE + output_pipes.CAPACITY
    assert pipe.take_end().endswith("[… 850.0 kB of output dropped …]\n" + "x" * 50_000)


# ---------------------------------------------------------------------- the records


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Iterator[TaskOutput]:
    """Of which all is sent at once, however much it is."""
    monkeypatch.setattr(task_output, "RATE", math.inf)
    opened = TaskOutput()
    yield opened
    opened.close()


numbers = itertools.count()


def note(files: TaskOutput, kind: RecordKind, *body: bytes) -> None:
    lengths, number = [len(part) for part in body] or [0, 0, 0], next(numbers)
    for fd in files.fds[:2]:
        os.write(fd, encode_mark(number))
    os.write(files.fds[2], RECORD.pack(KINDS.index(kind), *lengths, number) + b"".join(body))


def display(files: TaskOutput, text: str, display_id: str = "", kind: DisplayKind = DisplayKind.SHOW) -> None:
    note(files, kind, display_id.encode(), json.dumps({"text/plain": text}).encode(), b"{}")


def news(files: TaskOutput, over: bool = False) -> list[tuple[Any, str]]:
    found: list[tuple[Any, str]] = []
    for message in files.new_messages("task", over):
        if isinstance(message, TaskLog):
            found.append((message.stream, message.text))
        else:
            found.append((message.kind, json.loads(bytes(message.bundle.data)).get("text/plain", "")))
    return found


def test_a_record_that_is_not_whole_yet_is_waited_for(files: TaskOutput) -> None:
    os.write(files.fds[0], b"text")
    record = RECORD.pack(KINDS.index(DisplayKind.SHOW), 0, 19, 2, 2**50) + b'{"text/plain": "d"}{}'
    for byte in record[:-1]:
        os.write(files.fds[2], bytes([byte]))
        assert news(files) in ([], [(OUT, "text")])
    os.write(files.fds[2], record[-1:])
    assert news(files) == [(DisplayKind.SHOW, "d")]


def test_nonsense_among_the_records_harms_no_text_and_no_later_task(files: TaskOutput) -> None:
    os.write(files.fds[2], b"nonsense" * 100)
    os.write(files.fds[0], b"text")
    assert news(files, over=True) == [(OUT, "text")]
    note(files, OUT)
    assert news(files, over=True) == []
    files.reset()
    display(files, "well")
    assert news(files) == [(DisplayKind.SHOW, "well")]


def test_lengths_that_are_not_true_are_not_believed(files: TaskOutput) -> None:
    os.write(files.fds[2], RECORD.pack(0, 0, 0, 0, 2**64 - 1))
    os.write(files.fds[0], b"text")
    assert news(files) == [(OUT, "text")]
    os.write(files.fds[2], RECORD.pack(2, 2**32 - 1, 2**32 - 1, 2**32 - 1, 0))
    assert news(files, over=True) == []


def test_displays_beyond_the_bound_are_replaced_by_words_and_then_by_nothing(
    files: TaskOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display_buffer, "MAX_DISPLAYS", 10_000)
    monkeypatch.setattr(display_buffer, "NOTE_RESERVE", 5_000)
    display(files, "small")
    display(files, "x" * 20_000)
    display(files, "small again")
    (_, first), (_, second), (_, third) = news(files)
    assert (first, third) == ("small", "small again")
    assert second == "[a display of 20.5 kB is not shown: a task's displays are kept up to 10.0 kB]"
    for _ in range(100):
        display(files, "x" * 5_000)
    found = news(files)
    assert 1 < len(found) < 20
    assert found[0][1] == "x" * 5_000
    assert all("is not shown" in text for _, text in found[1:])
    display(files, "", kind=DisplayKind.CLEAR)
    display(files, "x" * 5_000)
    assert news(files) == [(DisplayKind.CLEAR, ""), (DisplayKind.SHOW, "x" * 5_000)]
    files.reset()
    display(files, "x" * 5_000)
    assert news(files) == [(DisplayKind.SHOW, "x" * 5_000)]


def test_updates_count_as_what_they_replace_and_need_something_to_replace(
    files: TaskOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display_buffer, "MAX_DISPLAYS", 10_000)
    display(files, "nothing of that id", "a", DisplayKind.UPDATE)
    display(files, "first", "a")
    for _ in range(50):
        display(files, "x" * 4_000, "a", DisplayKind.UPDATE)
        assert news(files)[-1][1] == "x" * 4_000
    display(files, "x" * 4_000, "a")
    display(files, "x" * 6_000, "a", DisplayKind.UPDATE)  # it is there twice
    shown, instead = news(files)
    assert shown == (DisplayKind.SHOW, "x" * 4_000)
    assert instead[0] is DisplayKind.SHOW
    assert "is not shown" in instead[1]


def test_of_much_that_is_displayed_the_last_comes_a_while_later_or_with_the_end(
    files: TaskOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_output, "RATE", 1.0)  # bytes a second
    display(files, "1", "a")
    assert news(files) == [(DisplayKind.SHOW, "1")]
    os.write(files.fds[0], b"text")
    for number in range(2, 100):
        display(files, str(number), "a", DisplayKind.UPDATE)
        assert news(files) == []
    assert news(files, over=True) == [(OUT, "text"), (DisplayKind.UPDATE, "99")]


# ---------------------------------------------------------------------- at the client


def message(text: str, kind: DisplayKind = DisplayKind.SHOW, display_id: str = "") -> TaskDisplay:
    return TaskDisplay("t", Payload(json.dumps({"text/plain": text}).encode()), Payload(b"{}"), kind, display_id)


def test_updates_change_every_display_of_their_id_and_clears_leave_the_logs() -> None:
    kept = Output()
    kept.add(OUT, "one ")
    kept.add(OUT, "two")
    kept.add_display(message("a", display_id="x"))
    kept.add_display(message("b"))
    kept.add_display(message("c", display_id="x"))
    kept.add_display(message("d", DisplayKind.UPDATE, "x"))
    d, b = Display({"text/plain": "d"}, {}, "x"), Display({"text/plain": "b"}, {})
    assert kept.displays() == (d, b, d)
    assert kept.pieces() == ((OUT, "one two"), d, b, d)
    kept.add_display(message("", DisplayKind.CLEAR_ON_NEXT))
    assert kept.displays() == (d, b, d)
    kept.add(ERR, "three")
    assert kept.pieces() == ((ERR, "three"),)
    assert kept.tail(100) == ("three", False)
    kept.add_display(message("", DisplayKind.CLEAR))
    assert kept.pieces() == ()
    assert str(kept.logs()) == "one twothree"


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff", b"7"])
def test_a_display_that_is_no_json_is_words(data: bytes) -> None:
    kept = Output()
    kept.add_display(TaskDisplay("t", Payload(data), Payload(b"{}")))
    assert "cannot be read" in kept.displays()[0].bundle["text/plain"]


# ---------------------------------------------------------------------- the real engine: order


def in_words(future: ScalerFuture[Any]) -> list[tuple[str, str]]:
    return [
        ("display", piece.bundle["text/plain"]) if isinstance(piece, Display) else (piece[0].value, piece[1])
        for piece in future.outputs()
    ]


def write_at_random(seed: int, steps: int) -> list[tuple[str, str]]:
    """Writes, and gives what it wrote as ``outputs`` should have it."""
    done: list[Any]
    chosen, done = random.Random(seed), []
    for step in range(steps):
        kind = chosen.choice(["stdout", "stderr", "display"])
        text = f"{step}{chosen.choice(['', chr(10), '…'])}"
        if kind == "display":
            publish({"text/plain": text})
        else:
            print(text, end="", file=getattr(sys, kind))
        if done and done[-1][0] == kind != "display":
            done[-1] = kind, done[-1][1] + text
        else:
            done.append((kind, text))
        if chosen.random() < 0.02:
            time.sleep(0.03)  # so that looks come in between
    return done


@pytest.mark.parametrize("seed", range(4))
def test_prints_and_displays_come_in_the_order_in_which_they_were_made(executor: NotebookExecutor, seed: int) -> None:
    future = executor.submit(write_at_random, seed, 400)
    wanted = future.result(SAFETY)
    assert in_words(future) == wanted


def write_from_c() -> None:
    libc = ctypes.CDLL(None)
    os.write(2, b"1 raw\n")
    publish({"text/plain": "a"})
    libc.printf(b"2 from c")
    libc.putchar(ord("!"))  # it stays in C's buffer
    publish({"text/plain": "b"})
    subprocess.run(["sh", "-c", "echo 3 from a child; echo 4 to stderr >&2"], check=True)
    publish({"text/plain": "c"})
    libc.puts(b"5 again")
    print("6 from python", file=sys.stderr)
    os.write(1, b"7 raw\n")
    print("8 from python")
    libc.putchar(ord("9"))


def test_what_c_code_and_subprocesses_write_stands_between_the_displays_around_it(executor: NotebookExecutor) -> None:
    future = executor.submit(write_from_c)
    future.result(SAFETY)
    assert in_words(future) == [
        ("stderr", "1 raw\n"),
        ("display", "a"),
        ("stdout", "2 from c!"),
        ("display", "b"),
        ("stdout", "3 from a child\n"),
        ("stderr", "4 to stderr\n"),
        ("display", "c"),
        ("stdout", "5 again\n"),
        ("stderr", "6 from python\n"),
        ("stdout", "7 raw\n8 from python\n9"),
    ]


def test_a_subprocess_that_opens_the_streams_by_name_loses_nothing(executor: NotebookExecutor) -> None:
    script = """
echo one >/dev/stdout
echo two | tee /dev/stderr
echo three >>/dev/stdout
echo four >/dev/fd/1
echo five >/proc/self/fd/2
cp /dev/stdin /dev/stdout <<<six
"""

    def writes() -> None:
        print("before")
        subprocess.run(["bash", "-c", script], check=True)
        with open("/dev/stdout", "w") as stream:
            print("seven", file=stream)
        print("after")

    logs = _of(executor.submit(writes)).logs
    assert logs.stdout.split() == ["before", "one", "two", "three", "four", "six", "seven", "after"]
    assert logs.stderr.split() == ["two", "five"]


def _of(future: ScalerFuture[Any]) -> ScalerFuture[Any]:
    future.result(SAFETY)
    return future


def test_a_stream_that_a_task_leaves_unblocking_blocks_for_the_next(executor_of_one: NotebookExecutor) -> None:
    executor_of_one.submit(os.set_blocking, 1, False).result(SAFETY)
    future = executor_of_one.submit(print, "x" * 4_000_000)
    future.result(SAFETY)
    assert len(future.logs.stdout) == 4_000_001


def test_logging_is_the_tasks_own_to_configure(executor: NotebookExecutor) -> None:
    def unconfigured() -> None:
        print("before")
        logging.getLogger("a.library").info("not shown")
        logging.getLogger("a.library").warning("the words alone")

    def configured() -> None:
        print("before")
        logging.basicConfig(format="%(message)s", level=logging.INFO)
        logging.info("shown")
        print("after")

    future = executor.submit(unconfigured)
    future.result(SAFETY)
    assert in_words(future) == [("stdout", "before\n"), ("stderr", "the words alone\n")]
    future = executor.submit(configured)
    future.result(SAFETY)
    assert in_words(future) == [("stdout", "before\n"), ("stderr", "shown\n"), ("stdout", "after\n")]


def test_more_turns_than_are_noted_lose_no_text(executor: NotebookExecutor) -> None:
    def task(count: int) -> None:
        for number in range(count):
            print(number)
            print(number, file=sys.stderr)

    future = executor.submit(task, 11_000)
    future.result(SAFETY)
    wanted = "".join(f"{number}\n" for number in range(11_000))
    assert (future.logs.stdout, future.logs.stderr) == (wanted, wanted)


# ---------------------------------------------------------------------- whose it is


def test_tasks_of_one_process_do_not_mix() -> None:
    def first() -> int:
        print("first", end="")
        print("first too", end="", file=sys.stderr)
        ctypes.CDLL(None).putchar(ord("!"))
        return os.getpid()

    def second() -> int:
        print("second")
        publish({"text/plain": "display of the second"})
        return os.getpid()

    with NotebookExecutor(n_workers=1) as executor:
        futures = [executor.submit(task) for task in (first, second) * 10]
        assert len({future.result(SAFETY) for future in futures}) == 1
        for one, two in zip(futures[::2], futures[1::2], strict=True):
            assert (one.logs.stdout, one.logs.stderr, one.displays) == ("first!", "first too", ())
            assert in_words(two) == [("stdout", "second\n"), ("display", "display of the second")]


def test_a_task_that_closes_or_replaces_its_streams_does_so_for_itself() -> None:
    def close() -> None:
        print("kept")
        sys.stdout.close()
        sys.stderr = sys.__stderr__

    def task() -> None:
        print("here")
        print("there", file=sys.stderr)

    with NotebookExecutor(n_workers=1) as executor:
        closing, following = executor.submit(close), executor.submit(task)
        closing.result(SAFETY)
        following.result(SAFETY)
        assert closing.logs.stdout == "kept\n"
        assert in_words(following) == [("stdout", "here\n"), ("stderr", "there\n")]


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_a_stream_of_a_tasks_own_holds_back_is_the_tasks(executor_of_one: NotebookExecutor, name: str) -> None:
    def replace() -> None:
        stream = open(1, "w", closefd=False)  # noqa: SIM115  # it stays open: the task leaves it behind
        setattr(sys, name, stream)
        stream.write("kept")

    replacing, following = executor_of_one.submit(replace), executor_of_one.submit(print, "here")
    following.result(SAFETY)
    assert (replacing.logs.stdout, following.logs.stdout) == ("kept", "here\n")


def test_threads_and_forks_write_and_display_whole_lines(executor: NotebookExecutor) -> None:
    def write(name: str) -> None:
        for number in range(200):
            sys.stdout.write(f"{name} {number} out\n")
            sys.stderr.write(f"{name} {number} err\n")
            publish({"text/plain": f"{name} {number}"})

    def task() -> None:
        children = []
        for name in ("fork 1", "fork 2"):
            child = os.fork()
            if child == 0:
                write(name)
                os._exit(0)
            children.append(child)
        threads = [threading.Thread(target=write, args=(f"thread {number}",)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for child in children:
            os.waitpid(child, 0)

    future = executor.submit(task)
    future.result(SAFETY)
    writers = ["fork 1", "fork 2", "thread 0", "thread 1", "thread 2"]
    lines = [f"{writer} {number}" for writer in writers for number in range(200)]
    assert sorted(future.logs.stdout.splitlines()) == sorted(f"{line} out" for line in lines)
    assert sorted(future.logs.stderr.splitlines()) == sorted(f"{line} err" for line in lines)
    assert sorted(str(shown.bundle["text/plain"]) for shown in future.displays) == sorted(lines)


def test_a_fork_that_closes_all_files_writes_its_records_nowhere_else(
    executor: NotebookExecutor, tmp_path: Any
) -> None:
    def task(directory: str) -> None:
        if os.fork() == 0:
            os.closerange(3, 1000)
            for name in range(20):
                os.open(f"{directory}/{name}", os.O_RDWR | os.O_CREAT)
            print("from the daemon", file=sys.stderr)
            publish({"text/plain": "nowhere"})
            os._exit(0)
        os.wait()

    future = executor.submit(task, str(tmp_path))
    future.result(SAFETY)
    assert future.logs.stderr == "from the daemon\n"
    assert future.displays == ()
    assert {path.stat().st_size for path in tmp_path.iterdir()} == {0}


# ---------------------------------------------------------------------- floods and last words


def flood(total: int, then: str) -> int:
    """Writes more and more, and waits in between until the scheduler keeps up; gives the largest size in memory."""
    line, largest = ("€" * 333 + "\n").encode(), 0
    chunk = line * (8 * 2**20 // len(line))
    deadline = time.monotonic() + 60
    while total > 0:
        total -= os.write(1, chunk)
        while os.fstat(1).st_blocks * 512 > 2 * 2**20:
            assert time.monotonic() < deadline, "what is to be dropped is not freed"
            time.sleep(0.005)
        largest = max(largest, os.fstat(1).st_blocks * 512)
    print(then)
    return largest


def scheduler_of(pid: int) -> psutil.Process:
    parent = psutil.Process(pid).parent()
    assert parent is not None
    return parent


def test_a_flood_keeps_head_and_tail_and_no_memory(executor: NotebookExecutor) -> None:
    scheduler = scheduler_of(executor.submit(os.getpid).result(SAFETY))
    before = scheduler.memory_info().rss
    future = executor.submit(flood, 400 * 2**20, "the end")
    assert future.result(60) < 16 * 2**20
    grown = scheduler.memory_info().rss - before
    assert grown < 100 * 2**20, f"the scheduler has grown by {grown >> 20} MB"
    text = future.logs.stdout
    head, said, tail = text.partition("[… ")
    words, _, tail = tail.partition(" …]\n")
    assert said
    assert words.endswith(" MB of output dropped")
    assert 410 < float(words.split()[0]) < 420
    assert "�" not in text
    assert 0 <= HEAD - len(head.encode()) < 4
    assert set(head.splitlines()[:-1]) == set(tail.splitlines()[:-1]) == {"€" * 333}
    assert tail.endswith("\nthe end\n")
    assert TAIL - 1001 <= len(tail.encode()) <= TAIL


def test_the_last_words_of_a_flood_that_is_killed_are_there(executor: NotebookExecutor) -> None:
    def task() -> None:
        flood(30 * 2**20, "last words")
        publish({"text/plain": "last display"})
        os.kill(os.getpid(), 9)

    future = executor.submit(task)
    with pytest.raises(ProcessorDiedError):
        future.result(60)
    assert future.logs.stdout.endswith("\nlast words\n")
    assert "of output dropped" in future.logs.stdout
    assert [kind for kind, _ in in_words(future)] == ["stdout", "display", "stdout"]


@pytest.mark.parametrize("obeys", [True, False], ids=["it obeys", "it is killed"])
def test_the_last_words_of_a_cancelled_task_are_there(executor: NotebookExecutor, obeys: bool) -> None:
    def task() -> None:
        flood(12 * 2**20, "begun")
        print("begun", file=sys.stderr)
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            print("last words")
            publish({"text/plain": "last display"})
            if not obeys:
                time.sleep(60)

    future = executor.submit(task)
    until_written(future, "begun")
    assert future.cancel(SAFETY)
    assert future.logs.stdout.endswith("\nbegun\nlast words\n")
    assert [shown.bundle for shown in future.displays] == [{"text/plain": "last display"}]
