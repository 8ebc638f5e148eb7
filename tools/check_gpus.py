"""What needs a real GPU: ``make test-gpu`` runs this, in a minute or two, on a machine with an NVIDIA driver.

Tasks ask the driver itself, by ctypes, so that no framework is needed. With one GPU, what needs two is skipped, and
said. Nobody else should use the GPUs meanwhile: their free memory is compared.
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scaler_notebook import NotebookExecutor, ProcessorDiedError

PATIENCE = 60.0  # seconds
ALLOCATED = 1 << 30  # bytes
TOLERANCE = 64 << 20  # bytes; a context is not always of the same size
NO_DEVICE = 100  # the driver's error
UUID = re.compile(r"^GPU (\d+):.*\(UUID: (GPU-[0-9a-f-]+)\)", re.MULTILINE)

kept: list[Any] = []  # in a task process: what it does not free


# ---------------------------------------------------------------------- in tasks


def visible() -> list[str]:
    """Return the UUIDs of the devices that the driver shows to this process."""
    cuda = ctypes.CDLL("libcuda.so.1")
    if (error := cuda.cuInit(0)) == NO_DEVICE:
        return []
    assert error == 0, f"cuInit: error {error}"
    count = ctypes.c_int()
    assert cuda.cuDeviceGetCount(ctypes.byref(count)) == 0
    found = []
    for number in range(count.value):
        uuid = (ctypes.c_ubyte * 16)()
        assert cuda.cuDeviceGetUuid_v2(ctypes.byref(uuid), number) == 0
        text = bytes(uuid).hex()
        found.append("GPU-" + "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])))
    return found


def free_memory(allocated: int = 0) -> int:
    """Return the free bytes of the first device, with a context there; allocate some, and free none, afterwards."""
    cuda = ctypes.CDLL("libcuda.so.1")
    assert cuda.cuInit(0) == 0
    context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
    assert cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
    assert cuda.cuCtxSetCurrent(context) == 0
    assert cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0
    if allocated:
        pointer = ctypes.c_uint64()
        assert cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(allocated)) == 0
        kept.append(pointer)
    return free.value


def allocate_and(end: Callable[[], object]) -> None:
    """Allocate memory, say so, and end in some way."""
    free_memory(ALLOCATED)
    print("allocated", flush=True)
    end()


def allocate_and_meet(directory: str, count: int) -> int:
    """Allocate memory, and return this process's number when so many tasks have done that."""
    free_memory(ALLOCATED)
    place = Path(directory)
    (place / str(os.getpid())).touch()
    end = time.monotonic() + PATIENCE
    while len(list(place.iterdir())) < count:
        assert time.monotonic() < end, "the other task does not run at the same time"
        time.sleep(0.01)
    return os.getpid()


# ---------------------------------------------------------------------- checks


def finds_what_the_driver_lists(ex: NotebookExecutor, uuids: list[str]) -> None:
    """``gpus="auto"`` is what nvidia-smi lists."""
    assert ex.gpus == tuple(map(str, range(len(uuids)))), f"{ex.gpus}, and there are {uuids}"


def warm_up_touches_none(ex: NotebookExecutor, uuids: list[str]) -> None:
    """An engine that has run tasks without GPUs, and imported ahead what they import, holds no memory on any."""
    before = used_memory()
    assert ex.submit(visible).result(PATIENCE) == [], "a task that asks for none sees one"
    ex.submit(lambda: __import__("json.tool")).result(PATIENCE)
    assert used_memory() <= before + TOLERANCE, f"{before} bytes are used before, {used_memory()} after"


def sees_its_own(ex: NotebookExecutor, uuids: list[str]) -> None:
    """A task sees the device that its future names, and no other."""
    for _ in range(4):
        future = ex.submit_verbose(visible, gpus=1)
        (seen,) = future.result(PATIENCE)
        assert seen == uuids[int(future.gpus[0])], f"{seen} is not GPU {future.gpus}"


def memory_is_free_after(ex: NotebookExecutor, kill: bool) -> None:
    """What the next task finds free is what the first one did.

    Parameters
    ----------
    ex
        The executor.
    kill
        Does the process die, and is not cancelled?
    """
    baseline = ex.submit_verbose(free_memory, gpus=len(ex.gpus or ())).result(PATIENCE)
    for _ in range(3):
        end = (lambda: os.kill(os.getpid(), signal.SIGKILL)) if kill else (lambda: time.sleep(PATIENCE))
        future = ex.submit_verbose(allocate_and, (end,), gpus=len(ex.gpus or ()))
        while "allocated" not in str(future.logs) and not future.done():
            time.sleep(0.01)
        if kill:
            assert isinstance(future.exception(PATIENCE), ProcessorDiedError)
        else:
            assert future.cancel(PATIENCE)
        free = ex.submit_verbose(free_memory, gpus=len(ex.gpus or ())).result(PATIENCE)
        assert free >= baseline - TOLERANCE, f"{free} bytes are free, and were {baseline}"


def memory_is_free_after_a_cancel(ex: NotebookExecutor, uuids: list[str]) -> None:
    """A cancelled task's memory is free for the next one."""
    memory_is_free_after(ex, kill=False)


def memory_is_free_after_a_death(ex: NotebookExecutor, uuids: list[str]) -> None:
    """So is that of a task whose process has died."""
    memory_is_free_after(ex, kill=True)


def shares_one_device(ex: NotebookExecutor, uuids: list[str]) -> None:
    """Two tasks have a half each, at the same time; then one that takes the whole has their memory, too."""
    baseline = ex.submit_verbose(free_memory, gpus=len(uuids)).result(PATIENCE)
    with tempfile.TemporaryDirectory() as directory:
        pair = [ex.submit_verbose(allocate_and_meet, (directory, 2), gpus=0.5) for _ in range(2)]
        assert len({future.result(PATIENCE) for future in pair}) == 2
        assert pair[0].gpus == pair[1].gpus, "they are on two"
    free = ex.submit_verbose(free_memory, gpus=len(uuids)).result(PATIENCE)
    assert free >= baseline - TOLERANCE, f"{free} bytes are free, and were {baseline}"


def two_run_on_two(ex: NotebookExecutor, uuids: list[str]) -> None:
    """Two tasks at the same time have a device each, and their processes keep to theirs."""
    with tempfile.TemporaryDirectory() as directory:
        pair = [ex.submit_verbose(allocate_and_meet, (directory, 2), gpus=1) for _ in range(2)]
        places = {future.result(PATIENCE): future.gpus for future in pair}
    assert len(set(places.values())) == 2
    for _ in range(4):
        future = ex.submit_verbose(os.getpid, gpus=1)
        assert places.get(future.result(PATIENCE), future.gpus) == future.gpus, "a process serves two"


CHECKS = [
    finds_what_the_driver_lists,
    warm_up_touches_none,
    sees_its_own,
    memory_is_free_after_a_cancel,
    memory_is_free_after_a_death,
    shares_one_device,
]


def said_by_nvidia_smi(*options: str) -> str:
    """Return what ``nvidia-smi`` says; nothing where there is none."""
    try:
        return subprocess.run(["nvidia-smi", *options], capture_output=True, text=True, timeout=PATIENCE).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def used_memory() -> int:
    """Return the bytes that all processes use on all devices."""
    said = said_by_nvidia_smi("--query-gpu=memory.used", "--format=csv,noheader,nounits")
    return sum(int(line) << 20 for line in said.split())


def main() -> int:
    """Make the checks; the exit status is 0 if all are met, 1 if not, 2 without a GPU."""
    uuids = [uuid for _, uuid in UUID.findall(said_by_nvidia_smi("-L"))]
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    if not uuids:
        print("no GPU that nvidia-smi lists: nothing is tested here, see the table in docs/limits.md")
        return 2
    failed = 0
    checks = [*CHECKS, two_run_on_two] if len(uuids) > 1 else CHECKS
    with NotebookExecutor(n_workers=3, gpus="auto", stream_output=False) as ex:
        for check in checks:
            begun = time.monotonic()
            try:
                check(ex, uuids)
                words = "ok"
            except Exception as error:
                failed += 1
                words = f"FAILED: {type(error).__name__}: {error}"
            print(f"{check.__name__.replace('_', ' '):<34} {time.monotonic() - begun:5.1f} s  {words}", flush=True)
    if len(uuids) == 1:
        print("two run on two: skipped, there is one GPU")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
