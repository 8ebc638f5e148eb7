"""The stop button's policy: what becomes of tasks when an interrupt ends a wait for them.

:mod:`scaler_notebook.client.task_state.cancel_policy` has the setting, ``on_interrupt``.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

from scaler_notebook.client.task_state import lifecycle
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.protocol.future_events import CancelRequested


@contextlib.contextmanager
def apply_policy_on_interrupt(futures: Callable[[], Iterable["Future[Any]"]]) -> Iterator[None]:
    """Apply the futures' policies when an interrupt ends the wait for them within the ``with`` block."""
    import asyncio  # not at the head of the module: it is loaded while the engine starts

    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError):  # the latter where a loop's callback waited
        apply_interrupt_policy(futures())
        raise


def apply_interrupt_policy(futures: Iterable["Future[Any]"]) -> None:
    """Do with unfinished futures what their ``on_interrupt`` says: the stop button has ended a wait for them."""
    unfinished = [future for future in futures if isinstance(future, ObservedTask) and not future.done()]
    for future in unfinished:
        if future.policy.on_interrupt == "cancel":
            lifecycle.handle(future, CancelRequested(keep_result=True))
    asked = [future for future in unfinished if future.policy.on_interrupt == "ask"]
    if asked:
        current_host().offer_cancel(asked)
