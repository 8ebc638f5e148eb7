"""IPython in a terminal, driven as a person does: the magics, text in place of cards, the line of a wait, Ctrl-C."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE = 30.0  # seconds
ESCAPES = re.compile(r"\x1b\][^\x07]*\x07|\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]")


class Terminal:
    """An IPython behind a pseudo terminal."""

    def __init__(self, home: Path) -> None:
        self._master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "IPYTHONDIR": str(home), "COLUMNS": "200"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self._heard = ""
        self.until("In [1]: ")

    def send(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, wanted: str) -> str:
        """All that it says up to ``wanted``."""
        deadline = time.monotonic() + PATIENCE
        while wanted not in self._heard:
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"it never said {wanted!r}: {self._heard!r}"
            self._heard += ESCAPES.sub("", os.read(self._master, 4096).decode(errors="replace"))
        said, _, self._heard = self._heard.partition(wanted)
        return said

    def run(self, code: str) -> str:
        """Enter a line, or several of a cell; what is printed until the next prompt."""
        self.send(code + "\n" + "\n" * (2 * ("\n" in code)))
        said = self.until("]: ")
        while not re.search(r"In \[\d+$", said):
            said += self.until("]: ")
        return said.replace("\r\n", "\n")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@contextlib.contextmanager
def started(home: Path) -> Iterator[Terminal]:
    """An IPython that ends with the block."""
    terminal = Terminal(home)
    try:
        yield terminal
    finally:
        terminal.close()


@pytest.fixture(scope="module")
def shared_terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    with started(tmp_path_factory.mktemp("ipython")) as terminal:
        yield terminal


@pytest.fixture
def terminal(shared_terminal: Terminal) -> Iterator[Terminal]:
    """One with the magics, in which nothing has been done yet."""
    shared_terminal.run("%load_ext scaler_notebook")
    shared_terminal.run("import time")
    yield shared_terminal
    shared_terminal.run("%scaler config progress_after=0.2")
    shared_terminal.run("%unload_ext scaler_notebook")
    shared_terminal.run("%reset -f")


def test_a_result_an_error_and_the_output_are_shown_as_text(terminal: Terminal) -> None:
    terminal.run("%scaler config progress_after=20")
    said = terminal.run("%scaler submit sorted([3, 1])")
    assert "done" in said
    assert "[1, 3]" in said
    assert "ZeroDivisionError: division by zero" in terminal.run("%scaler submit 1 / 0")
    said = terminal.run("%%scaler --out x\nprint('hello')\nx = 3\nx + 1")
    assert "| hello" in said
    assert re.search(r"^  4$", said, re.M)
    assert "\n3" in terminal.run("time.sleep(0.1); print(x)")
    assert "2 done" in terminal.run("%scaler map abs, [-1, -2]")
    assert "sorted([3, 1])" in terminal.run("%scaler history")
    assert "sorted([3, 1])" in terminal.run("%scaler board")
    assert "idle" in terminal.run("%scaler status")


def test_the_debugger_stands_where_a_task_has_failed(terminal: Terminal) -> None:
    terminal.run("inverse = lambda x: 1 / (x - 1)")
    terminal.run("f = %scaler submit inverse(1)")
    assert "division by zero" in terminal.run("f.exception()")
    terminal.send("%scaler debug inverse\n")
    said = terminal.until("ipdb> ")
    assert "ZeroDivisionError" in said
    assert re.search(r"> .*<lambda>\(", said), "it stands in the frame that raised"
    terminal.send("p x + 41\n")
    assert "42" in terminal.until("ipdb> ")
    terminal.run("q")
    terminal.run("f = %scaler submit inverse(3)")
    terminal.run("f.result()")
    said = terminal.run("%scaler debug inverse")
    assert "inverse(3) has raised nothing here" in said
    assert "0.5" in said


def test_a_wait_says_what_it_waits_for_and_ctrl_c_ends_it(terminal: Terminal) -> None:
    terminal.run("f = %scaler submit time.sleep(60)")
    terminal.send("f.result()\n")
    line = terminal.until("Ctrl-C ends the wait")
    assert re.search(r"running \d\.\d s  time\.sleep\(60\) · $", line)
    terminal.send("\x03")
    said = terminal.until("KeyboardInterrupt")
    assert "it runs on; stop with %scaler cancel" in said
    terminal.until("KeyboardInterrupt: ")
    terminal.until("]: ")
    assert "cancelled: stopped" in terminal.run("%scaler cancel --all")


def test_a_short_wait_says_nothing(terminal: Terminal) -> None:
    assert "Ctrl-C" not in terminal.run("f = %scaler submit time.sleep(0.1)\nf.result()")


def test_leaving_waits_for_no_card(tmp_path: Path) -> None:
    with started(tmp_path) as terminal:
        terminal.run("%load_ext scaler_notebook")
        terminal.run("import time")
        terminal.run("f = %scaler submit time.sleep(0.3)")
        terminal.send("exit\n")
        assert terminal.process.wait(PATIENCE) == 0
