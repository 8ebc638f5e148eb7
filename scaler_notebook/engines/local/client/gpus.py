"""Which devices an engine has: as the user lists them, and as the drivers' own tools count them.

No driver is loaded into this process: a process that has opened a device keeps memory there.
"""

import os
import re
import subprocess
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import TypeAlias, TypeGuard

from scaler_notebook.protocol.devices import VARIABLES

Gpus: TypeAlias = str | int | Sequence[int | str]

LIST_TIMEOUT = 20.0  # seconds; a driver that is loaded for the question takes some
KFD_NODES = Path("/sys/class/kfd/kfd/topology/nodes")  # of AMD's driver; processors are nodes too
_LISTED = re.compile(r"^\s*(GPU|MIG)\b.*\(UUID: ([^)]+)\)", re.MULTILINE)


def resolve(gpus: Gpus | None) -> tuple[str, ...]:
    """Return the names of the devices that an engine is to have, as they stand in ``CUDA_VISIBLE_DEVICES``.

    Parameters
    ----------
    gpus
        ``"auto"``: all that this process may use; a number: the first so many of them; a list of their numbers. A text
        in a list is taken as a name, whether there is such a device or not: of a part of one, or a pretended one.

    Raises
    ------
    TypeError, ValueError
        It is none of these, or there are fewer devices than it says.
    """
    if gpus is None:
        return ()
    if isinstance(gpus, str) and gpus == "auto":
        return present()
    if _is_number(gpus):
        if (count := int(gpus)) < 0:
            raise ValueError(f"gpus is a number of GPUs, not {count}; leave it out for none")
        return _first(count, present()) if count else ()
    if isinstance(gpus, str | bytes) or not isinstance(gpus, Sequence) or not all(_names_device(each) for each in gpus):
        raise TypeError(f"gpus is 'auto', a number of GPUs, or a list of their numbers, e.g. [0, 1], not {gpus!r:.60}")
    there = present() if any(not isinstance(each, str) for each in gpus) else ()
    names = tuple(each if isinstance(each, str) else _numbered(int(each), there) for each in gpus)
    if len(set(names)) < len(names):
        raise ValueError(f"gpus={gpus!r:.60} has a GPU twice; a share of one is what a task asks for: gpus=0.5")
    return names


def _names_device(value: object) -> bool:
    """Return whether a value is the number of a device, or a name that can stand in a list of names."""
    if isinstance(value, str):
        return value.isprintable() and bool(value) and not set(value) & {",", " "}
    return _is_number(value)


def _is_number(value: object) -> TypeGuard[Integral]:
    """Return whether a value is an integer, such as one of numpy's."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _first(count: int, there: tuple[str, ...]) -> tuple[str, ...]:
    """Return the first devices; a ValueError if there are fewer."""
    if count > len(there):
        raise ValueError(f"gpus={count}, and this process may use {_counted(there)}: gpus='auto' takes what there is")
    return there[:count]


def _numbered(number: int, there: tuple[str, ...]) -> str:
    """Return the device of a number; a ValueError if there is none."""
    if not 0 <= number < len(there):
        raise ValueError(
            f"there is no GPU {number}: this process may use {_counted(there)}, counted from 0. Texts name pretended "
            "ones, to try things without a GPU: gpus=['a', 'b']"
        )
    return there[number]


def _counted(there: tuple[str, ...]) -> str:
    """Write for a person which devices there are."""
    return f"{len(there)} ({', '.join(there)})" if there else "none (nvidia-smi and AMD's driver list none)"


def present() -> tuple[str, ...]:
    """Return the devices that this process may use: what the user's environment leaves of those of the machine.

    A GPU that is divided (MIG) is as many devices as it has parts.
    """
    for variable in VARIABLES:
        if variable in os.environ:
            return _listed_in(os.environ[variable])
    return _of_nvidia() or _of_amd()


def _listed_in(value: str) -> tuple[str, ...]:
    """Return what a variable leaves visible: what stands before the first entry that is none, as the driver does."""
    names: list[str] = []
    for entry in map(str.strip, value.split(",")):
        if not entry or entry.startswith("-") or entry in names or entry == "NoDevFiles":
            break
        names.append(entry)
    return tuple(names)


def _of_nvidia() -> tuple[str, ...]:
    """Return what ``nvidia-smi`` lists; nothing where there is none, or no driver."""
    try:
        said = subprocess.run(
            ["nvidia-smi", "-L"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIST_TIMEOUT
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ()
    if said.returncode:
        return ()
    devices: list[str] = []
    number = -1
    for kind, uuid in _LISTED.findall(said.stdout):
        if kind == "GPU":
            number += 1
            devices.append(str(number))
        else:
            if devices and devices[-1] == str(number):  # divided: its parts are what a process can have
                devices.pop()
            devices.append(uuid)
    return tuple(devices)


def _of_amd() -> tuple[str, ...]:
    """Return a number for each device of AMD's driver; nothing where there is no such driver."""
    try:
        nodes = sorted(KFD_NODES.iterdir())
        gpus = [node for node in nodes if re.search(r"^simd_count [1-9]", (node / "properties").read_text(), re.M)]
    except OSError:
        return ()
    if "ROCR_VISIBLE_DEVICES" in os.environ:
        return tuple(map(str, range(len(_listed_in(os.environ["ROCR_VISIBLE_DEVICES"])))))
    return tuple(map(str, range(len(gpus))))
