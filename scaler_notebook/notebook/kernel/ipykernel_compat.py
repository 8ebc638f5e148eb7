"""The internals of ipykernel that we use, in one place, checked before they are used.

Tested on 6.29, 6.31, 7.3 and 7.4. In 6.x the main shell's socket belongs to the main thread. In 7.x a thread reads the
socket, and hands the main shell its messages over an in-process socket pair.
"""

import asyncio
import contextvars
import inspect
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from functools import partial
from types import FrameType
from typing import Any

import zmq

RawMessage = list[Any]  # zmq frames, as a ZMQStream gives them
MessageHandler = Callable[[RawMessage], bool]


class UnknownKernel(Exception):
    """The kernel's internals are not those that we know."""


class MainShell:
    """The requests to a kernel's main thread. Made and used on that thread, once the kernel's loop runs.

    Parameters
    ----------
    kernel
        An ``ipykernel`` kernel.

    Raises
    ------
    UnknownKernel
        Something that we need is not there; nothing was changed.
    """

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._pending: dict[int, RawMessage] = {}  # by id(): read by the loop, neither begun nor offered to a wait
        self._handled: set[int] = (
            set()
        )  # ids of messages that a wait has handled, whose turn in the loop is still to come
        self._dispatch_tasks: set[asyncio.Task[Any]] = set()  # kept here because a loop holds its tasks weakly
        self._enqueue: Callable[[RawMessage], Coroutine[Any, Any, None] | None]  # puts a message in the kernel's order
        try:
            channels = getattr(kernel, "shell_channel_thread", None)
            if channels is None:
                self._stream = self._out = kernel.shell_stream
                self._dispatch = kernel.dispatch_shell
                self._enqueue = partial(kernel.schedule_dispatch, self._dispatch_unless_handled)
            else:
                self._stream = channels.manager._shell_channel_to_main.to_stream
                self._out = channels.manager.get_subshell_to_shell_channel_socket(None)
                self._dispatch = self._stream._recv_callback
                self._enqueue = self._dispatch_unless_handled
            for owner, names in (
                (self._stream, ("socket", "on_recv")),
                (kernel, ("io_loop", "session", "log", "shell_handlers", "_publish_status")),
                (kernel, ("set_parent", "get_parent", "_parent_ident")),
            ):
                for name in names:
                    getattr(owner, name)
            handles_comms_during_await = "concurrent" in inspect.signature(kernel.dispatch_shell).parameters
        except AttributeError as error:
            raise UnknownKernel(str(error)) from None
        if not inspect.iscoroutinefunction(self._dispatch):
            raise UnknownKernel(f"{self._dispatch!r} is no coroutine function")
        # While an ``await`` cell runs, 7.3 keeps messages where we cannot see them; with this lock they wait here.
        self._dispatch_lock: AbstractAsyncContextManager[Any] = (
            nullcontext() if handles_comms_during_await else asyncio.Lock()
        )
        self._stream.on_recv(self._on_message, copy=False)

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        """The socket on which requests arrive, for polling."""
        socket: zmq.Socket[bytes] = self._stream.socket
        return socket

    def receive(self, handler: MessageHandler) -> None:
        """Offer every message that has arrived to ``handler``. A message that it declines keeps its place in the queue.

        The messages are not read by the stream's ``flush``: nested in itself, that would spin for ever on a message
        that it does not read.

        Parameters
        ----------
        handler
            Handles a message, or returns False.
        """
        pending, self._pending = self._pending, {}
        self._handled.update(identity for identity, message in pending.items() if handler(message))
        while True:
            try:
                message = self._stream.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            if not handler(message):
                dispatch = self._enqueue(message)
                if dispatch is not None:
                    task = self._kernel.io_loop.asyncio_loop.create_task(dispatch)
                    self._dispatch_tasks.add(task)
                    task.add_done_callback(self._dispatch_tasks.discard)

    def resume_reading(self) -> None:
        """Let the loop read again: the socket announces a message once, and a wait may have used that up."""
        self._stream.on_recv(self._on_message, copy=False)

    def _on_message(self, message: RawMessage) -> Coroutine[Any, Any, None] | None:
        """Enqueue a message that the loop has read, and keep it in reach of a wait that begins before its turn."""
        self._pending[id(message)] = message
        return self._enqueue(message)

    async def _dispatch_unless_handled(self, message: RawMessage) -> None:
        """Let the kernel handle a message when its turn comes, unless a wait has handled it."""
        async with self._dispatch_lock:
            if id(message) in self._handled:
                self._handled.discard(id(message))
                return
            self._pending.pop(id(message), None)
            await self._dispatch(message)

    def peek(self, message: RawMessage) -> tuple[str, dict[str, Any]] | None:
        """Read the type and the content of a message that may still be handled elsewhere; None if it is invalid.

        A session remembers the signature of a message that it has deserialised with its content, and refuses that
        message a second time. So the content is unpacked apart.
        """
        session = self._kernel.session
        try:
            _, frames = session.feed_identities(message, copy=False)
            parsed = session.deserialize(frames, content=False, copy=False)
            content = parsed["content"]
            return str(parsed["header"]["msg_type"]), session.unpack(getattr(content, "bytes", content))
        except Exception:
            return None

    def handle(self, message: RawMessage, busy: bool) -> None:
        """Run the kernel's own handler for a message, as if it had come between two cells.

        Parameters
        ----------
        message
            The message.
        busy
            Whether another request is under way, whose state front ends must see again afterwards.
        """
        kernel = self._kernel
        identities, frames = kernel.session.feed_identities(message, copy=False)
        parsed = kernel.session.deserialize(frames, content=True, copy=False)
        parent, parent_identities = kernel.get_parent("shell"), kernel._parent_ident["shell"]
        try:
            contextvars.copy_context().run(self._handle, identities, parsed)
        finally:
            self._set_parent(parent_identities, parent)
            if busy:
                kernel._publish_status("busy", "shell")

    def _handle(self, identities: Any, message: dict[str, Any]) -> None:
        """Call the kernel's handler for a message, between the states *busy* and *idle*.

        Parameters
        ----------
        identities
            The sender of the message.
        message
            The message, deserialised.
        """
        kernel = self._kernel
        self._set_parent(identities, message)
        kernel._publish_status("busy", "shell")
        try:
            handler = kernel.shell_handlers[message["header"]["msg_type"]]
            outcome = handler(self._out, identities, message)
            if inspect.iscoroutine(outcome):
                with suppress(StopIteration):
                    outcome.send(None)  # these handlers never really await
                outcome.close()
        except Exception:
            kernel.log.exception("a message that arrived during a wait could not be handled")
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(Exception):
                    stream.flush()
            kernel._publish_status("idle", "shell")
            if self._out is self._stream:
                self._stream.flush(zmq.POLLOUT)

    def _set_parent(self, identities: Any, message: dict[str, Any]) -> None:
        """Make a message the parent of what is sent from here on.

        Parameters
        ----------
        identities
            The sender of the message.
        message
            The message, deserialised.
        """
        with suppress(AttributeError):  # raised in the last step, the publisher's: that of a %%capture has no parent
            self._kernel.set_parent(identities, message, channel="shell")


def is_cell(frame: FrameType) -> bool:
    """Return whether a frame is IPython's frame that executes a cell."""
    return frame.f_code.co_name == "run_code" and frame.f_globals.get("__name__") == "IPython.core.interactiveshell"


def survives_interrupt(frame: FrameType) -> bool:
    """Return whether a frame catches a KeyboardInterrupt and goes on.

    An interrupt that reached the loop would end the kernel.
    """
    return is_cell(frame) or (
        frame.f_code.co_name == "dispatch_shell" and frame.f_globals.get("__name__") == "ipykernel.kernelbase"
    )


def let_front_end_choose(comm: Any) -> None:
    """Let the front end choose where messages on ``comm`` are handled, after we have opened it or sent on it.

    ipykernel 7.4 has a comm's messages handled where something was last sent on the comm. A cell or a thread of ours
    was there, so the next click would go to the main shell, which may be busy.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = None


def cell_id(shell: Any) -> str | None:
    """Return the id of the notebook's cell that runs; None if the front end does not tell."""
    with suppress(Exception):
        found = shell.get_parent()["metadata"].get("cellId")
        return found if isinstance(found, str) else None
    return None


def shows_widgets_unasked(shell: Any) -> bool:
    """Return whether the front end of the cell that runs needs no widget in an output.

    JupyterLab, Notebook 7 and Voilà make a model when its comm is opened, shown or not: a live view can find its place
    in the page. Who runs a notebook without a browser shows none. VS Code and Colab make a model for an output that has
    its widget, and not before. JupyterLab and Notebook 7 tell with each cell which ones were deleted, VS Code tells the
    cell alone, and the others nothing.
    """
    metadata: dict[str, Any] = {}
    with suppress(Exception):
        metadata = shell.get_parent()["metadata"]
    return "google.colab" not in sys.modules and ("deletedCells" in metadata or "cellId" not in metadata)


def parent(kernel: Any) -> dict[str, Any]:
    """Return the request that is being handled: what is displayed on its behalf appears in its cell."""
    with suppress(Exception):
        found = kernel.get_parent("shell")
        return found if isinstance(found, dict) else {}
    return {}
