"""Where the time of each process goes: by py-spy, which looks from outside, or by cProfile within."""

from __future__ import annotations

import abc
import cProfile
import io
import marshal
import os
import pstats
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from .cpu_clocks import Part
from .engine_parts import AGENT

HOOK = Path(__file__).parent / "profile_hook"
LINES = 15  # functions that are printed of each process
RATE = 200  # samples of py-spy per second
LONGEST = 3600  # seconds that py-spy would look
ANSWER = 10.0  # seconds until a process must have written its profile


class Profiler(AbstractContextManager["Profiler"], abc.ABC):
    """Profiles processes during a block. Enter it before the engine starts, which may have to be prepared."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.found: dict[str, str] = {}  # by title: the functions that take most

    def __enter__(self) -> Profiler:
        self.directory.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    @abc.abstractmethod
    def measuring(self, parts: Sequence[Part]) -> AbstractContextManager[None]:
        """Profile every process of the parts during a block."""

    def report(self) -> str:
        """Give what was found, as text."""
        sections = [f"=== {title}\n{text}" for title, text in self.found.items()]
        return "\n\n".join([*sections, f"Profiles are in {self.directory}."])


def new_profiler(kind: str, directory: Path) -> Profiler:
    """Make a profiler.

    Parameters
    ----------
    kind
        ``"py-spy"``, ``"cprofile"``, or ``"auto"``: the first if it is installed, else the second.
    directory
        Where profiles are written.
    """
    beside = Path(sys.executable).with_name("py-spy")
    program = str(beside) if beside.exists() else shutil.which("py-spy")
    if kind == "cprofile" or (kind == "auto" and program is None):
        return CProfiler(directory)
    if program is None:
        raise SystemExit("py-spy is not installed: pip install py-spy, or --profile cprofile")
    return PySpy(directory, program)


def titles(parts: Sequence[Part]) -> dict[int, str]:
    """Name each process, by its id, after the parts that are in it."""
    names: dict[int, str] = {}
    for part in parts:
        for process in part.processes:
            names.setdefault(process, part.name)
    names[os.getpid()] = "caller's process"
    return names


class PySpy(Profiler):
    """Samples of every thread that runs, taken from outside: the processes do what they do without a profiler."""

    def __init__(self, directory: Path, program: str) -> None:
        super().__init__(directory)
        self._program = program

    @contextmanager
    def measuring(self, parts: Sequence[Part]) -> Iterator[None]:
        started = {process: self._start(process) for process in titles(parts)}
        time.sleep(1.0)  # py-spy has found its process
        try:
            yield
        finally:
            for each in started.values():
                each.send_signal(signal.SIGINT)
            for process, title in titles(parts).items():
                _, complaint = started[process].communicate()
                self.found[f"{title} ({process})"] = self._read(self._path(process), complaint)

    def _start(self, process: int) -> subprocess.Popen[str]:
        self._path(process).unlink(missing_ok=True)
        options = ["--pid", str(process), "--rate", str(RATE), "--duration", str(LONGEST), "--threads", "--nonblocking"]
        command = [self._program, "record", *options, "--format", "raw", "--output", str(self._path(process))]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def _path(self, process: int) -> Path:
        return self.directory / f"{process}.stacks.txt"

    def _read(self, path: Path, complaint: str) -> str:
        """Count in which function of which thread the samples lie."""
        if not path.exists():
            return f"py-spy wrote nothing: {complaint.strip()[-300:] or 'it was idle'}"
        counts: Counter[str] = Counter()
        for line in path.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            frames = stack.split(";")
            thread = next((frame for frame in frames if frame.startswith("thread ")), "")
            counts[f"{frames[-1]}  [{thread}]"] += int(count)
        total = sum(counts.values())
        return "\n".join(f"{100 * n / total:5.1f} %  {what}" for what, n in counts.most_common(LINES))


class CProfiler(Profiler):
    """cProfile in each process's main thread, and in the agent's thread; every call of a function costs more."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._agent: Any = cProfile.Profile()

    def __enter__(self) -> Profiler:
        super().__enter__()
        path = os.pathsep.join(filter(None, (str(HOOK), os.environ.get("PYTHONPATH"))))
        os.environ.update(BENCHMARK_PROFILES=str(self.directory), PYTHONPATH=path)
        if sys.version_info < (3, 12):  # from there on a process has one profiler
            threading.setprofile(self._begin_in_agent)
        return self

    def _begin_in_agent(self, _frame: FrameType, _event: str, _value: object) -> None:
        sys.setprofile(None)
        if threading.current_thread().name == AGENT:
            self._agent.enable()

    @contextmanager
    def measuring(self, parts: Sequence[Part]) -> Iterator[None]:
        others = {process: title for process, title in titles(parts).items() if process != os.getpid()}
        for process in others:
            self._path(process).unlink(missing_ok=True)
            os.kill(process, signal.SIGUSR2)
        caller: Any = cProfile.Profile()
        caller.enable()
        try:
            yield
        finally:
            caller.disable()
            for process in others:
                os.kill(process, signal.SIGUSR2)
            for name, profile in ("caller", caller), ("agent", self._agent):
                profile.snapshot_stats()
                path = self.directory / f"{name}.prof"
                path.write_bytes(marshal.dumps(profile.stats))
                self.found[f"{name}'s thread"] = self._read(path)
            for process, title in others.items():
                self.found[f"{title} ({process})"] = self._read(self._path(process))

    def _path(self, process: int) -> Path:
        return self.directory / f"{process}.prof"

    def _read(self, path: Path) -> str:
        deadline = time.monotonic() + ANSWER
        while not path.exists():
            if time.monotonic() > deadline:
                return "no profile was written"
            time.sleep(0.02)
        text = io.StringIO()
        try:
            pstats.Stats(str(path), stream=text).strip_dirs().sort_stats("tottime").print_stats(LINES)
        except TypeError:  # of nothing
            return "nothing was called"
        return text.getvalue().partition("\n\n")[2].strip()
