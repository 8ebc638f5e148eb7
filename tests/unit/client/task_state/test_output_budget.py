"""What tasks have written is bounded in all: outputs of ended tasks are cut, the oldest first."""

from __future__ import annotations

import gc

import pytest

from scaler_notebook.client.task_state import output_budget
from scaler_notebook.client.task_state.output import Display, Output
from scaler_notebook.client.task_state.output_budget import OutputBudget
from scaler_notebook.protocol.messages import LogStream, Payload, TaskDisplay

OUT, ERR = LogStream.STDOUT, LogStream.STDERR


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_budget, "KEPT", 100)
    monkeypatch.setattr(output_budget, "budget", OutputBudget(10_000))


def written(over: bool = True, lines: int = 400) -> Output:
    output = Output()
    for number in range(lines):
        output.add(OUT, f"{number:9}\n")
    output.over = over
    return output


def test_the_oldest_of_ended_tasks_are_cut_and_say_so() -> None:
    outputs = [written() for _ in range(4)]
    first, *others = [output.logs() for output in outputs]
    assert first.stdout == "".join(f"{n:9}\n" for n in (*range(5), *range(395, 400)))
    assert first.stderr == (
        "\n[3,900 characters are not kept: what the tasks of this session have written is too much]\n"
    )
    assert [len(str(logs)) for logs in others[1:]] == [4_000] * 2


def test_what_a_running_task_has_written_stays() -> None:
    running = [written(over=False) for _ in range(4)]
    assert [len(str(output.logs())) for output in running] == [4_000] * 4
    running[1].over = True
    running[0].add(OUT, "more")
    assert [len(output.logs().stdout) for output in running] == [4_004, 100, 4_000, 4_000]


def test_what_nobody_holds_counts_no_more() -> None:
    for _ in range(8):
        written()
    gc.collect()
    assert len(str(written().logs())) == 4_000


def test_one_large_piece_is_cut_within_and_small_displays_stay() -> None:
    output = Output()
    output.add(ERR, "a" * 50 + "b" * 9_000 + "c" * 50)
    empty = Payload(b"{}")
    output.add_display(TaskDisplay("t", empty, empty))
    output.over = True
    others = [written() for _ in range(2)]
    assert others
    shown = output.pieces()
    assert len(shown) == 2
    text = output.logs().stderr
    assert text.startswith("a" * 50 + "\n[9,000 characters are not kept")
    assert text.endswith("]\n" + "c" * 50)


def test_displays_count_and_are_dropped_with_words() -> None:
    output, small = Output(), Payload(b'{"text/plain": "small"}')
    output.add_display(TaskDisplay("t", small, Payload(b"{}")))
    for _ in range(3):
        output.add_display(TaskDisplay("t", Payload(b'{"text/plain": "' + b"x" * 3_983 + b'"}'), Payload(b"{}")))
    output.add(OUT, "end")
    output.over = True
    assert written()
    first, note, end = output.pieces()
    assert first == Display({"text/plain": "small"})
    words = "[displays of 12,003 bytes are not kept: what the tasks of this session have written is too much]"
    assert note == Display({"text/plain": words})
    assert end == (OUT, "end")
    assert output.displayed == 4
