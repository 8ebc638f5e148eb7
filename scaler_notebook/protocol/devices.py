"""The devices (GPUs) that an engine gives to tasks: their names, how much of them a task takes, how it sees them."""

from collections.abc import Sequence

from .errors import CapabilityError

WHOLE = 100  # parts of one device: a task takes parts of one, or whole ones
HIDDEN = "-1"  # the value of the variables for no device; HIP takes an empty one for none that was set
# The second is ROCm's. Its ROCR_VISIBLE_DEVICES stays as the user has it: HIP counts within what that leaves.
VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # as nvidia-smi counts them, unless the user has said otherwise


def visible(devices: Sequence[str]) -> dict[str, str]:
    """Return the environment in which a process sees these devices and no others."""
    return dict.fromkeys(VARIABLES, ",".join(devices) or HIDDEN)


def shown(devices: Sequence[str]) -> str:
    """Write devices for a person: ``GPU 0``, ``GPUs 0, 1``; empty for none."""
    if not devices:
        return ""
    if any(name.startswith(("GPU", "MIG")) for name in devices):  # such a name says itself what it names
        return ", ".join(devices)
    return f"GPU{'s' if len(devices) > 1 else ''} {', '.join(devices)}"


def amount(parts: int) -> str:
    """Write an amount of devices for a person: ``2``, ``0.5``."""
    return f"{parts / WHOLE:g}"


def check(parts: int, devices: Sequence[str]) -> None:
    """Raise unless a task that takes so much can run on an engine with these devices.

    Parameters
    ----------
    parts
        What the task takes, in parts of which a device has :data:`WHOLE`.
    devices
        The engine's devices.

    Raises
    ------
    CapabilityError
        There are fewer.
    """
    if parts <= WHOLE * len(devices):
        return
    if devices:
        count = len(devices)
        there = f"its engine has {count} ({shown(devices)}): give the task at most {'one' if count == 1 else count}"
    else:
        there = "its engine has none. Give the executor what it is to have: NotebookExecutor(gpus='auto')"
    raise CapabilityError(f"the task needs gpus={amount(parts)}, and {there}", "gpus", -(-parts // WHOLE), len(devices))
