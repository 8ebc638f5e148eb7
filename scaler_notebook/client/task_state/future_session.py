"""The session that a future belongs to, as the future knows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from scaler_notebook.protocol.messages import TaskCancel


class FutureSession(Protocol):
    """The session that a future belongs to, which sends the future's requests to the engine."""

    def send_cancel(self, request: TaskCancel) -> None:
        """Send a cancel request; never blocks."""

    def send_items_taken(self, task_id: str, count: int) -> None:
        """Tell a task how many of its items were read; never blocks.

        Parameters
        ----------
        task_id
            The task.
        count
            How many items were read, in all.
        """

    def resubmit(self, future: Any) -> Any:
        """Submit the call of a future again; return the new future."""

    def submit_with_value(
        self, future: Any, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Submit a call whose first argument is a future's value; return its future.

        Parameters
        ----------
        future
            The future.
        fn
            What is called.
        args, kwargs
            The arguments after the value.
        """

    def local_call(self, future: Any) -> Callable[[], Any]:
        """Return what makes the call of a future in this process, and gives its value."""

    def process_of(self, future: Any) -> int:
        """Return the process of this machine that runs a future's task; RuntimeError if there is none now."""

    def request_preview(self, future: Any) -> None:
        """Have a preview of a future's value made and added to the future, if one can be had; never blocks."""
