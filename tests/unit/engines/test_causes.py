"""Causes of death: what is told of a process that died, and what of memory, by files as kernels write them."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from scaler_notebook.engines.local import resource_limits
from scaler_notebook.engines.local.resource_limits import ControlGroup, Kills
from scaler_notebook.engines.local.scheduler.processes import process_tree
from scaler_notebook.engines.local.scheduler.processes.exit_cause import CauseFinder
from scaler_notebook.protocol.messages import ProcessExit

GB = 1_000_000_000
NONE = "9223372036854771712\n"  # what version 1 writes for no limit

# As kernels 5.14 (version 2, systemd), 6.18 (version 1) and 4.9 (no counters) write them.
EVENTS = "low 0\nhigh 0\nmax 118\noom 2\noom_kill {}\noom_group_kill 0\n"
OOM_CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
VMSTAT = "nr_free_pages 5926\noom_kill {}\nnuma_hit 1\n"
SLICE = "user.slice/user-1000.slice/jupyter.scope"


class Recorded(NamedTuple):
    """Files of a system, and what they tell."""

    files: dict[str, str]
    limit: int | None
    kills: Kills | None


RECORDED = {
    "version 2, a limit above": Recorded(
        {
            "proc/self/cgroup": f"0::/{SLICE}\n",
            f"cgroup/{SLICE}/memory.max": "max\n",
            f"cgroup/{SLICE}/memory.events": EVENTS.format(3),
            "cgroup/user.slice/memory.max": "4000000000\n",
            "cgroup/user.slice/memory.events": EVENTS.format(50),
            "proc/vmstat": VMSTAT.format(99),
        },
        4 * GB,
        Kills(3, ours=True),
    ),
    "version 2, two limits": Recorded(
        {
            "proc/self/cgroup": f"0::/{SLICE}\n",
            f"cgroup/{SLICE}/memory.max": "2000000000\n",
            f"cgroup/{SLICE}/memory.events": EVENTS.format(0),
            "cgroup/user.slice/memory.max": "4000000000\n",
        },
        2 * GB,
        Kills(0, ours=True),
    ),
    "version 2, a container": Recorded(
        {
            "proc/self/cgroup": "0::/\n",
            "cgroup/memory.max": "2147483648\n",
            "cgroup/memory.events": EVENTS.format(1),
        },
        2147483648,
        Kills(1, ours=True),
    ),
    "version 1": Recorded(
        {
            "proc/self/cgroup": "9:name=systemd:/\n4:memory:/process_api/add3\n2:cpu,cpuacct:/elsewhere\n0::/\n",
            "cgroup/memory/process_api/add3/memory.limit_in_bytes": NONE,
            "cgroup/memory/process_api/add3/memory.oom_control": OOM_CONTROL.format(2),
            "cgroup/memory/memory.limit_in_bytes": "500000000\n",
            "cgroup/memory/memory.oom_control": OOM_CONTROL.format(7),
        },
        500_000_000,
        Kills(2, ours=True),
    ),
    "version 1, a container that is shown the host's path": Recorded(
        {
            "proc/self/cgroup": "5:memory:/docker/3f2a1b\n",
            "cgroup/memory/memory.limit_in_bytes": "1000000000\n",
            "cgroup/memory/memory.oom_control": OOM_CONTROL.format(0),
        },
        GB,
        Kills(0, ours=True),
    ),
    "version 1, without a counter": Recorded(
        {
            "proc/self/cgroup": "5:memory:/\n",
            "cgroup/memory/memory.limit_in_bytes": NONE,
            "cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n",
            "proc/vmstat": "nr_free_pages 5926\n",
        },
        None,
        None,
    ),
    "no limits, the machine's counter": Recorded(
        {"proc/self/cgroup": "0::/\n", "proc/vmstat": VMSTAT.format(4)}, None, Kills(4, ours=False)
    ),
    "nonsense": Recorded({"proc/self/cgroup": "\n:\n0::/../..\n", "proc/vmstat": "oom_kill many\n"}, None, None),
    "another system": Recorded({}, None, None),
}


def laid_out(place: Path, files: dict[str, str]) -> ControlGroup:
    """The group that these files describe."""
    for name, text in files.items():
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return ControlGroup(place / "proc", place / "cgroup")


@pytest.mark.parametrize("case", RECORDED)
def test_the_limit_and_the_kills_are_read_as_kernels_write_them(tmp_path: Path, case: str) -> None:
    files, limit, kills = RECORDED[case]
    group = laid_out(tmp_path, files)
    assert (group.memory_limit, group.kills) == (limit, kills)


def test_there_is_memory_for_us_here() -> None:
    assert 0 < resource_limits.available_memory() <= psutil.virtual_memory().total


# ---------------------------------------------------------------------- causes


def status_of(script: str) -> int:
    """A real wait status."""
    return os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", script], os.environ), 0)[1]


@pytest.mark.parametrize(
    ("script", "words", "death"),
    [
        ("exit 0", ["by itself", "status 0 "], ProcessExit(0, 0)),
        ("exit 3", ["by itself", "status 3 "], ProcessExit(3, 0)),
        ("kill -SEGV $$", ["SIGSEGV", "native code"], ProcessExit(-1, signal.SIGSEGV)),
        ("kill -ABRT $$", ["SIGABRT", "memory that it did not get"], ProcessExit(-1, signal.SIGABRT)),
        ("kill -TERM $$", ["killed by SIGTERM"], ProcessExit(-1, signal.SIGTERM)),
        (f"kill -{signal.SIGRTMIN + 3} $$", [f"signal {signal.SIGRTMIN + 3}"], ProcessExit(-1, signal.SIGRTMIN + 3)),
        ("kill -KILL $$", ["by SIGKILL, from outside", "memory was not short"], ProcessExit(-1, signal.SIGKILL)),
    ],
)
def test_the_cause_of_a_death_is_told_in_words(
    tmp_path: Path, script: str, words: list[str], death: ProcessExit
) -> None:
    cause = CauseFinder(laid_out(tmp_path, {})).cause(status_of(script), peak=0)
    assert all(word in cause.words for word in words), cause.words
    assert cause.death == death
    assert ("by itself" in cause.words) == ("exit" in script)


COUNTERS = {
    "in our group": ("cgroup/memory.events", EVENTS, "out of memory: the kernel killed it"),
    "somewhere": ("proc/vmstat", VMSTAT, "probably out of memory: the kernel killed for want of memory"),
}


@pytest.mark.parametrize("case", COUNTERS)
def test_a_kill_that_the_kernel_has_counted_is_out_of_memory_once(tmp_path: Path, case: str) -> None:
    file, text, words = COUNTERS[case]
    files = {"proc/self/cgroup": "0::/\n", "cgroup/memory.max": "2000000000\n", file: text.format(5)}
    finder, killed = CauseFinder(laid_out(tmp_path, files)), status_of("kill -KILL $$")
    (tmp_path / file).write_text(text.format(6))
    cause = finder.cause(killed, peak=1_800_000_000)
    assert cause.words.startswith(words)
    assert "(it had at most 1.8 GB, the limit of its control group is 2.0 GB)" in cause.words
    assert "resources={'memory': bytes}" in cause.words
    assert cause.death == ProcessExit(signal=signal.SIGKILL, out_of_memory=True)
    again = finder.cause(killed, peak=0)
    assert "from outside" in again.words, "that one was counted before"
    assert not again.death.out_of_memory


def test_who_was_killed_by_us_did_not_run_out_of_memory(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "cgroup/memory.events": EVENTS.format(5)}
    finder = CauseFinder(laid_out(tmp_path, files))
    (tmp_path / "cgroup/memory.events").write_text(EVENTS.format(6))
    cause = finder.cause(status_of("kill -KILL $$"), GB, "its task had closed the connection to it")
    assert cause.words == "its scheduler killed it: its task had closed the connection to it"
    assert not cause.death.out_of_memory


class Memory(NamedTuple):
    total: int
    available: int


@pytest.mark.parametrize(
    ("peak", "available", "limit", "guess"),
    [
        (9 * GB, 9 * GB + GB // 4, None, True),  # it took all but a quarter of a gigabyte
        (3 * GB, 9 * GB, None, False),
        (0, 0, None, False),  # what it had is not known
        (1_950_000_000, 9 * GB, 2 * GB, True),
        (1_000_000_000, 9 * GB, 2 * GB, False),
    ],
)
def test_where_nobody_counts_it_is_a_guess_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peak: int, available: int, limit: int | None, guess: bool
) -> None:
    files = {"proc/self/cgroup": "0::/\n", "cgroup/memory.max": f"{limit}\n"}
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(10 * GB, available))
    cause = CauseFinder(laid_out(tmp_path, files)).cause(status_of("kill -KILL $$"), peak)
    assert cause.words.startswith("probably out of memory: it was killed by SIGKILL while") == guess
    assert cause.death.out_of_memory == guess


def test_a_kill_is_told_where_no_file_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(psutil, "virtual_memory", lacks)
    finder = CauseFinder(laid_out(tmp_path, {}))
    assert "it was killed by SIGKILL" in finder.cause(signal.SIGKILL, peak=1_000_000).words


def test_a_process_that_ends_is_told_from_one_that_lives() -> None:
    reader, writer = os.pipe()
    child = os.posix_spawn("/bin/cat", ["cat"], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, reader, 0)])
    os.close(reader)
    assert not process_tree.is_ending(child)
    os.kill(child, signal.SIGKILL)
    os.close(writer)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert process_tree.is_ending(child), "a zombie"
    os.waitpid(child, 0)
    assert process_tree.is_ending(child), "it is gone"
