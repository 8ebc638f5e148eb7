"""Kernels that tests use one after the other: each finds its kernel as if it had just started."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from kernel_environments import kernel_of
from kernels import Kernel

SUPPORT = Path(__file__).parents[1]
WANTED = [str(SUPPORT / name) for name in ("common", "notebooks")]
STATE = "__import__('kernel_state').state"
BEGIN = f"""
import sys
sys.path += {WANTED!r}
import kernel_state
del sys.path[-{len(WANTED)}:]
kernel_state.state = kernel_state.KernelState()
"""


def patch(kernel: Kernel, module: str, **values: object) -> None:
    """Set names of a module in a shared kernel until the end of the test."""
    executed = kernel.run(f"{STATE}.patch({module!r}, **{values!r})", silent=True)
    assert not executed.error, executed


class SharedKernel:
    """One kernel, which starts when it is first used, and again after it was lost.

    Parameters
    ----------
    version
        One of :data:`kernel_environments.VERSIONS`, or ``"installed"``.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._stack = contextlib.ExitStack()
        self._kernel: Kernel | None = None

    def start(self) -> Kernel:
        """Idempotent."""
        if self._kernel is None:
            kernel = self._stack.enter_context(kernel_of(self._version))
            executed = kernel.run(BEGIN, silent=True)
            assert not executed.error, executed
            self._restore(kernel)
            self._kernel = kernel
        return self._kernel

    def close(self) -> None:
        """End it."""
        self._kernel = None
        self._stack.close()

    @contextlib.contextmanager
    def lent(self, setup: str = "") -> Iterator[Kernel]:
        """The kernel, with ``setup`` run in it; afterwards nothing of what was done there is left.

        Raises
        ------
        AssertionError
            Something is left.
        """
        kernel = self.start()
        try:
            if setup:
                executed = kernel.run(setup)
                assert not executed.error, executed
            yield kernel
        finally:
            self._restore(kernel)

    def _restore(self, kernel: Kernel) -> None:
        try:
            left = kernel.run(f"print(await {STATE}.restore())", silent=True)
            assert (left.text, left.error) == ("{}\n", ""), f"left in the kernel: {left}"
        except BaseException:
            self.close()  # the next one gets another
            raise
        kernel.forget()


class SharedKernels:
    """One for each version of ipykernel that was asked for."""

    def __init__(self) -> None:
        self._kernels: dict[str, SharedKernel] = {}

    def of(self, version: str) -> SharedKernel:
        """A kernel that runs."""
        kernel = self._kernels.setdefault(version, SharedKernel(version))
        kernel.start()
        return kernel

    def close(self) -> None:
        """End them all."""
        for kernel in self._kernels.values():
            kernel.close()
