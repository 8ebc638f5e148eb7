"""What we use of ipykernel beyond its public interface, in one place, checked before it is used.

Seen to work on 6.29, 6.30, 6.31, 7.3 and 7.4. In 6.x the main shell's socket belongs to the main thread. In 7.x a
thread of its own reads the socket and hands the main shell its messages over an in-process pair.
"""

import asyncio
import contextvars
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import zmq

RawMessage = list[Any]  # zmq frames, as a ZMQStream gives them
Take = Callable[[RawMessage], bool]


class UnknownKernel(Exception):
    """This kernel's internals are not those that we know."""


class MainShell:
    """The stream over which a kernel's main thread gets its requests.

    Parameters
    ----------
    kernel
        An ``ipykernel`` kernel.

    Raises
    ------
    UnknownKernel
        Something that we need is not there.
    """

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        try:
            channels = getattr(kernel, "shell_channel_thread", None)
            self._manager = channels.manager if channels is not None else None
            if self._manager is not None:
                self._stream = self._manager._shell_channel_to_main.to_stream
                self._manager.get_subshell_to_shell_channel_socket  # noqa: B018  # only to see that it is there
            else:
                self._stream = kernel.shell_stream
            for owner, names in (
                (self._stream, ("_recv_callback", "_recv_copy", "on_recv", "flush", "socket")),
                (kernel, ("set_parent", "get_parent", "_publish_status", "_publish_status_and_flush")),
                (kernel, ("shell_handlers", "session", "log")),
            ):
                for name in names:
                    getattr(owner, name)
        except AttributeError as error:
            raise UnknownKernel(str(error)) from None

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        """To be polled for requests."""
        socket: zmq.Socket[bytes] = self._stream.socket
        return socket

    def receive(self) -> None:
        """Have the stream read what has arrived, and pass it to whoever takes it now."""
        self._stream.flush(zmq.POLLIN)

    @contextmanager
    def taking(self, take: Take) -> Iterator[None]:
        """Within it, every message goes to ``take`` first; what it declines goes its old way, in its order.

        Nests: the old way may be another's ``take``.
        """
        stream = self._stream
        running: list[asyncio.Future[Any]] = []  # the loop itself keeps no task alive; they run when the cell ends
        before, copy = stream._recv_callback, stream._recv_copy

        def on_message(message: RawMessage) -> None:
            if not take(message):
                passed = before(message)
                if inspect.isawaitable(passed):
                    running.append(asyncio.ensure_future(passed))

        stream.on_recv(on_message, copy=copy)
        try:
            self._take_queued(take)
            yield
        finally:
            # Not by on_recv: it would wrap the callback once more each time.
            stream._recv_callback, stream._recv_copy = before, copy

    def _take_queued(self, take: Take) -> None:
        """In 6.x messages that came before the cell wait in a queue of the kernel's."""
        queue = getattr(self._kernel, "msg_queue", None)
        if self._manager is not None or queue is None:
            return
        items = []
        with suppress(asyncio.QueueEmpty):
            while True:
                items.append(queue.get_nowait())
        for item in items:
            if not take(item[2][0]):
                queue.put_nowait(item)

    def peek(self, message: RawMessage) -> tuple[str, dict[str, Any]] | None:
        """``(type, content)`` of a message; None if it is none.

        The session keeps the signatures of what it has deserialised with its content, and refuses them a second
        time: so the content is unpacked apart, and whoever handles the message later can still do so.
        """
        session = self._kernel.session
        try:
            _, frames = session.feed_identities(message, copy=False)
            parsed = session.deserialize(frames, content=False, copy=False)
            content = parsed["content"]
            return str(parsed["header"]["msg_type"]), session.unpack(getattr(content, "bytes", content))
        except Exception:
            return None

    def handle(self, message: RawMessage) -> None:
        """Run the kernel's own handler for a message, as if it had come between two cells."""
        kernel = self._kernel
        identities, frames = kernel.session.feed_identities(message, copy=False)
        parsed = kernel.session.deserialize(frames, content=True, copy=False)
        parent = kernel.get_parent("shell")
        if hasattr(kernel, "_get_shell_context_var"):
            ident = kernel._get_shell_context_var(kernel._shell_parent_ident)
            contextvars.copy_context().run(self._handle, identities, parsed)
        else:
            ident = kernel._parent_ident["shell"]
            self._handle(identities, parsed)
        kernel.set_parent(ident, parent, channel="shell")
        kernel._publish_status("busy", "shell")  # the cell still runs

    def _handle(self, identities: Any, message: dict[str, Any]) -> None:
        kernel = self._kernel
        # In 7.x replies leave through the pair, not through the stream they came by.
        manager = self._manager
        out = self._stream if manager is None else manager.get_subshell_to_shell_channel_socket(None)
        kernel.set_parent(identities, message, channel="shell")
        kernel._publish_status("busy", "shell")
        try:
            handler = kernel.shell_handlers.get(message["header"]["msg_type"])
            outcome = handler(out, identities, message)
            if inspect.iscoroutine(outcome):
                try:
                    outcome.send(None)  # these handlers never really await
                except StopIteration:
                    pass
                else:
                    outcome.close()
        except Exception:
            kernel.log.exception("a message that arrived during a wait could not be handled")
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(Exception):
                    stream.flush()
            kernel._publish_status_and_flush("idle", "shell", out)


def let_front_end_choose(comm: Any) -> None:
    """After we sent on ``comm`` from a thread of ours.

    ipykernel 7.4 answers on the subshell of a comm's last sender. Sent from a thread that is none, the next click
    would go to the main shell, which may be busy; without that memory it goes where the front end sends it.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = None
