"""The optional package py-spy, which reads a process's memory from outside and does not stop the process for it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from subprocess import PIPE

from .frames import CannotLook, SampledFrame

DUMP_TIMEOUT = 5.0  # seconds; it takes a tenth of one
TRIES = 3  # what is read while it changes may be no stack
FORBIDDEN = (
    "the system does not let this process read another: `sudo sysctl kernel.yama.ptrace_scope=0` changes that, and a "
    "container needs the capability SYS_PTRACE"
)
NOT_INSTALLED = "py-spy is not installed: pip install py-spy"


def executable() -> str:
    """Return the path of py-spy.

    Raises
    ------
    CannotLook
        It is not installed.
    """
    here = os.path.dirname(sys.executable)
    found = shutil.which("py-spy", path=os.pathsep.join((here, os.environ.get("PATH", ""))))
    if found is None:
        raise CannotLook(NOT_INSTALLED)
    return found


def main_threads_frames(pid: int) -> list[SampledFrame]:
    """Return the frames of a process's main thread, the outermost first.

    Raises
    ------
    CannotLook
        py-spy is not installed, does not know this Python, or may not read the process.
    """
    command = [executable(), "dump", "--json", "--nonblocking", "--pid", str(pid)]
    said = ""
    for _ in range(TRIES):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=DUMP_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise CannotLook(f"py-spy has not answered within {DUMP_TIMEOUT:g} s") from None
        said = done.stderr.strip()
        if done.returncode == 0:
            for thread in json.loads(done.stdout):
                if thread["os_thread_id"] == pid and thread["frames"]:
                    return [_frame(each) for each in reversed(thread["frames"])]
        elif is_forbidden(said):
            break
    raise CannotLook(why(said))


def is_forbidden(said: str) -> bool:
    """Return whether py-spy's error is that the system does not let it read the process."""
    return "permission" in said.lower() or "operation not permitted" in said.lower()


def why(said: str) -> str:
    """Return in words why py-spy has failed, from its error."""
    if is_forbidden(said):
        return FORBIDDEN
    return f"py-spy cannot read it: {said.splitlines()[-1] if said else 'it found no stack'}"


def _frame(found: dict[str, object]) -> SampledFrame:
    return SampledFrame(str(found["filename"]), int(str(found["line"])), str(found["name"]))


class Recording:
    """A recording of what a process does, as a flame graph; it ends with its time, or with the process.

    Parameters
    ----------
    pid
        The process.
    seconds
        How long.
    rate
        How many samples are taken a second.

    Raises
    ------
    CannotLook
        py-spy is not installed.
    """

    def __init__(self, pid: int, seconds: int, rate: int) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="scaler_notebook-profile-")
        self._file = os.path.join(self._directory.name, "profile.svg")
        try:
            command = [executable(), "record", "--nonblocking", "--format", "flamegraph", "--output", self._file]
            command += ["--idle"]  # what waits is where the time goes, too
            command += ["--duration", str(seconds), "--rate", str(rate), "--pid", str(pid)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=PIPE)
        except BaseException:
            self._directory.cleanup()
            raise

    def wait(self) -> str:
        """Wait for the end of the recording, on any thread; return the flame graph, an SVG with its own script.

        Raises
        ------
        CannotLook
            py-spy may not read the process, does not know its Python, or has seen nothing.
        """
        said = self._process.communicate()[1].decode("utf-8", "replace").strip()
        try:
            with open(self._file, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            raise CannotLook(why(said)) from None

    def close(self) -> None:
        """End the recording, if it has not ended, and forget what it has written."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._directory.cleanup()
