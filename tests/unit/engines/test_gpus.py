"""Which GPUs an engine has, as the user lists them and the drivers' tools count them; mistakes, in words."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaler_notebook import CapabilityError
from scaler_notebook.client.submission.capability_argument import parse_gpus
from scaler_notebook.client.submission.options import task_options
from scaler_notebook.engines.local.client import gpus
from scaler_notebook.protocol import devices

TWO = """GPU 0: NVIDIA H200 (UUID: GPU-5fc1b1a5-0000)
GPU 1: NVIDIA H200 (UUID: GPU-9ab2c3d4-0000)
"""
DIVIDED = """GPU 0: NVIDIA H200 (UUID: GPU-5fc1b1a5-0000)
  MIG 1g.18gb     Device  0: (UUID: MIG-aaaa)
  MIG 1g.18gb     Device  1: (UUID: MIG-bbbb)
GPU 1: NVIDIA H200 (UUID: GPU-9ab2c3d4-0000)
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without GPUs: programs and AMD's driver are looked for in a directory."""
    for variable in (*devices.VARIABLES, "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpus, "KFD_NODES", tmp_path / "nodes")
    return tmp_path


def say(machine: Path, text: str, status: int = 0) -> None:
    """Have the machine's ``nvidia-smi`` say this."""
    program = machine / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n/bin/cat <<'END'\n{text}END\nexit {status}\n")
    program.chmod(0o755)


def amd(machine: Path, *simds: int) -> None:
    for number, count in enumerate(simds):
        node = machine / "nodes" / str(number)
        node.mkdir(parents=True)
        (node / "properties").write_text(f"cpu_cores_count 0\nsimd_count {count}\n")


@pytest.mark.parametrize(
    ("said", "given", "names"),
    [
        (TWO, "auto", ("0", "1")),
        (TWO, 1, ("0",)),
        (TWO, 2, ("0", "1")),
        (TWO, [1], ("1",)),
        (TWO, np.int64(2), ("0", "1")),
        (TWO, np.int64(0), ()),
        (TWO, [np.int64(1)], ("1",)),
        (TWO, range(2), ("0", "1")),
        (TWO, (1, 0), ("1", "0")),
        (TWO, 0, ()),
        (TWO, None, ()),
        (TWO, [], ()),
        (TWO, ["a", "b"], ("a", "b")),
        (DIVIDED, "auto", ("MIG-aaaa", "MIG-bbbb", "1")),
        (DIVIDED, [0, 2], ("MIG-aaaa", "1")),
        ("No devices were found\n", "auto", ()),
    ],
)
def test_what_nvidia_smi_lists(machine: Path, said: str, given: Any, names: tuple[str, ...]) -> None:
    say(machine, said)
    assert gpus.resolve(given) == names


def test_without_a_driver_there_are_none(machine: Path) -> None:
    assert gpus.resolve("auto") == ()
    say(machine, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", status=9)
    assert gpus.resolve("auto") == ()


@pytest.mark.parametrize(
    ("variable", "value", "names"),
    [
        ("CUDA_VISIBLE_DEVICES", "1", ("1",)),
        ("CUDA_VISIBLE_DEVICES", "3, 2", ("3", "2")),
        ("CUDA_VISIBLE_DEVICES", "GPU-5fc1,MIG-aaaa", ("GPU-5fc1", "MIG-aaaa")),
        ("CUDA_VISIBLE_DEVICES", "", ()),
        ("CUDA_VISIBLE_DEVICES", "1,-1,0", ("1",)),
        ("CUDA_VISIBLE_DEVICES", "NoDevFiles", ()),
        ("HIP_VISIBLE_DEVICES", "1", ("1",)),
    ],
)
def test_what_the_user_has_hidden_stays_so(
    machine: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, names: tuple[str, ...]
) -> None:
    say(machine, TWO)
    monkeypatch.setenv(variable, value)
    assert gpus.resolve("auto") == names
    assert gpus.resolve(list(range(len(names)))) == names, "numbers count what is visible"


def test_those_of_amd(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    amd(machine, 0, 304, 304)
    assert gpus.resolve("auto") == ("0", "1"), "processors are nodes too"
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "1")
    assert gpus.resolve("auto") == ("0",), "HIP counts within what ROCm leaves"


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (3, ValueError, r"gpus=3, and this process may use 2 \(0, 1\): gpus='auto' takes what there is"),
        ([0, 2], ValueError, r"there is no GPU 2: this process may use 2 \(0, 1\), counted from 0"),
        ([-1], ValueError, "there is no GPU -1"),
        ([0, 0], ValueError, r"has a GPU twice; a share of one is what a task asks for: gpus=0\.5"),
        (-1, ValueError, "leave it out for none"),
        ("all", TypeError, "gpus is 'auto', a number of GPUs, or a list of their numbers"),
        (True, TypeError, "gpus is 'auto'"),
        (1.0, TypeError, "gpus is 'auto'"),
        ([True], TypeError, "gpus is 'auto'"),
        (np.True_, TypeError, "gpus is 'auto'"),
        (np.float64(1), TypeError, "gpus is 'auto'"),
        (np.array([0, 1]), TypeError, "gpus is 'auto'"),
        ({0, 1}, TypeError, "gpus is 'auto'"),
        (b"01", TypeError, "gpus is 'auto'"),
        (np.int64(-1), ValueError, "leave it out for none"),
        (["a,b"], TypeError, "gpus is 'auto'"),
        ([""], TypeError, "gpus is 'auto'"),
    ],
)
def test_mistakes_are_told(machine: Path, given: Any, error: type[Exception], words: str) -> None:
    say(machine, TWO)
    with pytest.raises(error, match=words):
        gpus.resolve(given)


@pytest.mark.parametrize(
    ("typed", "meant"), [("auto", "auto"), ("2", 2), ("0,1", [0, 1]), ("1,", [1]), ("a, b", ["a", "b"])]
)
def test_what_is_typed(typed: str, meant: object) -> None:
    assert parse_gpus(typed) == meant


TAKEN = [
    *((0, 0), (1, 100), (2.0, 200), (0.5, 50), (1 / 3, 33), (0.996, 99), (-0.0, 0)),
    *((np.int64(2), 200), (np.float64(0.5), 50), (np.float32(0.5), 50), (Fraction(1, 3), 33)),
]


@pytest.mark.parametrize(("given", "parts"), TAKEN)
def test_what_a_task_takes(given: float, parts: int) -> None:
    assert task_options("f()", gpus=given).gpus == parts


@pytest.mark.parametrize("given", [-1, -0.5, 1.5, 0.001, float("inf"), float("nan"), np.float32("nan")])
def test_no_task_takes(given: float) -> None:
    with pytest.raises(
        ValueError, match="gpus is a whole number, for a task that has so many alone, or a share of one"
    ):
        task_options("f()", gpus=given)


@pytest.mark.parametrize("given", [True, np.True_, "1", [1], None])
def test_nor_is_any_number(given: Any) -> None:
    with pytest.raises(TypeError, match="gpus is an integer, not"):
        task_options("f()", gpus=given)


def test_a_task_that_takes_more_than_there_is_is_refused_in_words() -> None:
    with pytest.raises(
        CapabilityError, match=r"needs gpus=3, and its engine has 2 \(GPUs 0, 1\): give .* at most 2"
    ) as one:
        devices.check(300, ("0", "1"))
    assert (one.value.capability, one.value.wanted, one.value.there) == ("gpus", 3, 2)
    with pytest.raises(
        CapabilityError, match=r"needs gpus=0\.5, and its engine has none. .*NotebookExecutor\(gpus='auto'\)"
    ):
        devices.check(50, ())
    devices.check(200, ("0", "1"))


@pytest.mark.parametrize(
    ("names", "words"),
    [((), ""), (("0",), "GPU 0"), (("0", "1"), "GPUs 0, 1"), (("MIG-aaaa",), "MIG-aaaa"), (("a",), "GPU a")],
)
def test_how_devices_read(names: tuple[str, ...], words: str) -> None:
    assert devices.shown(names) == words


def test_no_driver_is_asked_where_only_names_are_given(machine: Path) -> None:
    say(machine, TWO)
    program = machine / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n: > {machine}/asked\n")
    assert gpus.resolve(["a"]) == ("a",)
    assert "asked" not in os.listdir(machine)
