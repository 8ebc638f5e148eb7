"""System calls that keep the interpreter's lock: what they give, and that they write into nobody's file."""

import ctypes
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler_notebook.client.system_calls import WakingPipe, working_directory


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pipe() -> Iterator[WakingPipe]:
    made = WakingPipe()
    yield made
    made.close()


def is_readable(pipe: WakingPipe) -> bool:
    assert pipe.receiver is not None
    return bool(select.select([pipe.receiver], [], [], 0)[0])


@pytest.mark.parametrize("name", ["plain", "two words", "Zürich", os.fsdecode(b"not \xff text")])
def test_the_directory_is_the_one_of_now_however_it_was_changed(directory: Path, name: str) -> None:
    (directory / name).mkdir()
    os.chdir(name)
    assert working_directory() == os.getcwd() == str(directory / name)
    ctypes.CDLL(None).chdir(b"..")
    assert working_directory() == str(directory)


def test_a_directory_that_was_moved_or_removed_is_noticed(directory: Path) -> None:
    (directory / "old").mkdir()
    os.chdir("old")
    os.rename(directory / "old", directory / "new")
    assert working_directory() == str(directory / "new")
    (directory / "new").rmdir()
    with pytest.raises(FileNotFoundError):
        working_directory()


def test_a_path_of_any_length_is_complete(directory: Path) -> None:
    for _ in range(25):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    assert working_directory() == os.getcwd()
    assert len(working_directory()) > 25 * 200


def test_a_pipe_is_readable_from_a_wake_until_it_is_drained(pipe: WakingPipe) -> None:
    assert not is_readable(pipe)
    assert pipe.wake()
    assert pipe.wake()
    assert is_readable(pipe)
    pipe.drain()
    assert not is_readable(pipe)


def test_a_full_pipe_says_so_and_stays_readable(pipe: WakingPipe) -> None:
    while pipe.wake():
        pass
    assert is_readable(pipe)


def test_a_closed_pipe_writes_to_no_file_that_has_its_descriptors_now(directory: Path) -> None:
    pipe = WakingPipe()
    pipe.close()
    file = directory / "file"
    with file.open("wb"), file.open("wb"):  # they get the descriptors that the pipe has given back
        assert not pipe.wake()
    assert file.read_bytes() == b""
