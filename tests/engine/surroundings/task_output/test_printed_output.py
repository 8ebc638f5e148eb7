"""``stream_output``: what tasks write is printed in a script, line by line, with the task's name in front."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from waits import SAFETY, until_written

from scaler_notebook import NotebookExecutor
from scaler_notebook.client.agent.output_printer import OutputPrinter
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.waiting import callback_thread
from scaler_notebook.client.waiting.host import PlainHost
from scaler_notebook.protocol.messages import LogStream, TaskLog


class Heard:
    """What is printed from here on. (A fixture would come too early: pytest's capture of the test takes its place.)"""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "stdout", self.stdout)
        monkeypatch.setattr(sys, "stderr", self.stderr)

    def lines(self) -> list[str]:
        """The lines of stdout, once all is printed that was to be."""
        callback_thread.output.drain()
        return self.stdout.getvalue().splitlines()


def writes(
    printer: OutputPrinter, future: ScalerFuture[Any], *texts: str, stream: LogStream = LogStream.STDOUT
) -> None:
    for text in texts:
        printer.add(future, TaskLog(future.task_id, stream, text))


def test_each_line_has_its_tasks_name_and_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, printer = Heard(monkeypatch), OutputPrinter(True)
    one, other = ScalerFuture[Any]("1", "fit(1)"), ScalerFuture[Any]("2", f"fit({'2' * 100})")
    writes(printer, one, "begins", " here\nand")
    writes(printer, other, "meanwhile\n")
    writes(printer, one, " goes on\n", "10%\r20%\r", "30%\r\n", "no end")
    writes(printer, one, "a warning\n", stream=LogStream.STDERR)
    printer.end(one)
    printer.end(other)
    printer.end(ScalerFuture("3"))  # it has written nothing
    long = "fit(" + "2" * 35 + "…"
    assert heard.lines() == [
        "fit(1) | begins here",
        f"{long} | meanwhile",
        "fit(1) | and goes on",
        "fit(1) | 30%",
        "fit(1) | no end",
    ]
    assert heard.stderr.getvalue() == "fit(1) | a warning\n"
    assert not printer._begun
    assert not printer._printing


def test_a_line_that_never_ends_is_printed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard(monkeypatch)
    writes(OutputPrinter(True), ScalerFuture("1", "f()"), *["x" * 5000] * 4)
    assert [(line[:7], len(line)) for line in heard.lines()] == [("f() | x", 10_006)] * 2


@pytest.mark.parametrize(
    ("wanted", "script", "printed"), [(None, True, True), (None, False, False), (False, True, False)]
)
def test_unless_told_otherwise_it_is_printed_in_a_script_alone(
    monkeypatch: pytest.MonkeyPatch,
    wanted: bool | None,
    script: bool,
    printed: bool,
) -> None:
    monkeypatch.setattr(PlainHost, "prints_output", script)
    heard = Heard(monkeypatch)
    writes(OutputPrinter(wanted), ScalerFuture("1", "f()"), "a line\n")
    assert bool(heard.lines()) == printed


def test_a_stream_that_is_closed_harms_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Heard(monkeypatch).stdout.close()
    writes(OutputPrinter(True), ScalerFuture("1", "f()"), "a line\n")
    callback_thread.output.drain()
    assert not caplog.records


def test_where_no_thread_can_be_started_any_more_the_caller_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is on Python 3.12.0 and 3.12.1 once a script's main thread has ended."""
    heard = Heard(monkeypatch)
    monkeypatch.setattr(callback_thread.output, "post", Mock(side_effect=RuntimeError("at interpreter shutdown")))
    writes(OutputPrinter(True), ScalerFuture("1", "f()"), "a line\n")
    assert heard.stdout.getvalue() == "f() | a line\n"


def test_a_real_executor_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard(monkeypatch)
    with NotebookExecutor(n_workers=1, stream_output=True) as executor:
        future = executor.submit(print, "one", "two")
        assert future.result(SAFETY) is None
        until_written(future, "two")
    assert heard.lines() == ["print('one', 'two') | one two"]
    with pytest.raises(TypeError, match="stream_output is True, False or None, not 'yes'"):
        NotebookExecutor(stream_output="yes")  # type: ignore[arg-type]


SCRIPT = """
import logging
from scaler_notebook import NotebookExecutor

def fit(n):
    print("fitting", n)
    logging.getLogger("mine").info("a note")
    logging.getLogger("mine").debug("nothing that is read")

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    NotebookExecutor(n_workers=1{options}).submit(fit, 3)
"""


@pytest.mark.parametrize("options", ["", ", stream_output=False"])
def test_a_script_shows_what_its_tasks_print_and_log(tmp_path: Path, options: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT).replace("{options}", options))
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=SAFETY, check=True)
    assert run.stdout == ("" if options else "fit(3) | fitting 3\n")
    assert run.stderr == ("" if options else "fit(3) | a note\n")


RESULTS = """
from scaler_notebook import NotebookExecutor

def fit(n):
    print("fitting")
    return n

if __name__ == "__main__":
    with NotebookExecutor(n_workers=1) as executor:
        for n in range(50):
            print(executor.submit(fit, n).result())
"""


def test_what_a_task_has_printed_stands_before_what_is_printed_of_its_result(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(RESULTS)
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=SAFETY, check=True)
    assert run.stdout.splitlines() == [line for n in range(50) for line in (f"fit({n}) | fitting", str(n))]


def test_the_level_of_the_root_logger_decides_what_a_task_logs(executor_of_one: NotebookExecutor) -> None:
    def logs() -> None:
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logging.getLogger("mine").log(level, f"level {level}")

    before = logging.root.level
    try:
        for level, written in ((logging.INFO, [20, 30]), (logging.WARNING, [30]), (logging.ERROR, []), (0, [30])):
            logging.root.setLevel(level)
            future = executor_of_one.submit(logs)
            future.result(SAFETY)
            assert future.logs.stderr.split() == [word for each in written for word in ("level", str(each))]
    finally:
        logging.root.setLevel(before)
