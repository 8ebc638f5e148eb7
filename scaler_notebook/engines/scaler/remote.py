"""What runs on a worker of Scaler's, around a task: its code, its output, its end, and how it is stopped.

Scaler's worker knows one way to stop what runs: SIGTERM to its process, and SIGKILL 3 s later (2.9,
``worker/agent/processor_holder.py``); the signal alone does not reach a task's code. Here it does, as a
KeyboardInterrupt, and the process of a task that obeys ends at once. A client that only asks does so by way of the
:mod:`.mailbox`; a task that obeys then waits to be ended, for a cancel is confirmed when the process is gone.
"""

import contextlib
import os
import pickle
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from mmap import PAGESIZE
from multiprocessing import process
from types import FrameType
from typing import Any

import psutil

from ...protocol import failures, payloads
from ...protocol.messages import Payload, SegmentRef
from .. import current_task, displays, inputs
from ..embedded.interrupts import ArmedRun, AskPage, Interrupts
from ..embedded.measuring import Measurement
from ..progress import watch_for_tqdm
from . import signs
from .address import SCHEMES
from .alarm import Alarm
from .bootstrap import ROOT
from .envelope import Ended, Failed, Head
from .link import current_name, own_processor, task_of
from .mailbox import Mailbox
from .packing import content, pack, unpack
from .voice import Voice

ANNOUNCE_AFTER = 0.005  # seconds; that a task runs is not worth a message if it ends sooner
SPEAK_EVERY = 0.04  # seconds; output and progress that come faster go together
CHILDREN_GO = 1.0  # seconds that tasks which a cancelled task has submitted get to be cancelled, before it is gone
HOST = socket.gethostname()


def run(arguments: bytes, function: bytes, initializer: bytes, *given: bytes) -> bytes:
    """Run a task: the packed payload of what it returns.

    Parameters
    ----------
    arguments
        Packed, with a :class:`~.envelope.Head`.
    function, initializer, given
        Packed: the function, the two packed parts of what is called before the client's first task in this process,
        and the task's inputs.

    Raises
    ------
    Failed
        The task has failed.
    """
    head, payload = unpack(arguments)
    call = _Call(current_name(), Head.decode(head), payload, unpack(function)[1], initializer, given)
    return _process().run(call)


class _Call:
    def __init__(
        self, name: str, head: Head, arguments: Payload, function: Payload, initializer: bytes, given: tuple[bytes, ...]
    ) -> None:
        self.name, self.task_id = name, task_of(name)
        self.head, self.function, self.arguments = head, function, arguments
        _, both = unpack(initializer)
        parts = (both.data, *both.buffers)  # function and arguments
        self.initializer = [unpack(content(part))[1] for part in parts if not isinstance(part, SegmentRef)]
        self.inputs = {name: unpack(blob)[1] for name, blob in zip(head.inputs, given, strict=True)}
        self.preparing = False


def _not_torn(armed: ArmedRun) -> AbstractContextManager[None]:
    """An interrupt comes to the main thread alone; others that keep talking must not keep it back."""
    return armed.shield() if threading.current_thread() is threading.main_thread() else nullcontext()


@cache
def _process() -> "_Process":
    return _Process()


class _Process:
    """This process, as long as it runs tasks of clients of ours."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile() as file:
            file.truncate(PAGESIZE)
            self._page = AskPage(file.fileno())
        self._interrupts = Interrupts(self._page, to_group=False)
        self._prepared: set[str] = set()  # the clients whose initializer has run
        self._run: ArmedRun | None = None
        self._name = ""  # the task's, at the cluster
        self._voice: Voice | None = None
        self._alarm, self._pace = Alarm(ANNOUNCE_AFTER), Alarm(SPEAK_EVERY)
        self._seq = 0
        self._pid = os.getpid()
        self._leaving = False  # the worker ends this process
        self._processor = own_processor()
        self._mailbox = self._new_mailbox()
        _mend_multiprocessing()
        watch_for_tqdm()
        displays.watch_for_ipython()

    # ------------------------------------------------------------------ one task

    def run(self, call: _Call) -> bytes:
        """:func:`run`."""
        self._seq += 1
        out, err = sys.stdout, sys.stderr
        armed = self._interrupts.new_run(self._seq)
        voice = Voice(out, err, self._started, self._alarm, self._pace, whole=partial(_not_torn, armed))
        task = current_task.CurrentTask(
            call.task_id, call.head.name, armed.asked, armed.shield, voice.report, voice.publish, self._address()
        )
        end: list[str] = []

        def failed(error: BaseException) -> Payload:
            failure = self._described(call, error)
            end.extend((_end_of(call, error), failure.links[0].headline))
            return payloads.dump(failure)

        measurement = Measurement()
        with self._listening():
            self._name, self._voice, self._run = call.name, voice, armed
            sys.stdout, sys.stderr = voice.stdout, voice.stderr
            current_task.begin(task)
            voice.begin()
            try:
                payload = self._interrupts.run(
                    armed, body=lambda: self._body(call), stopped=self._stopped, failed=failed
                )
            finally:
                if os.getpid() != self._pid:  # a process that the task has forked, and let return: it is not the task
                    os._exit(bool(end))
                self._name = ""
                current_task.end()
                inputs.end()
                sys.stdout, sys.stderr = out, err
        self._run = None
        ended = Ended.of(measurement.figures(), end[0] if end else Ended.SUCCESS)
        if call.head.stays:
            voice.tell(signs.Ended(ended.encode().decode()))
        voice.close()
        blob = pack(payload, ended.encode())
        if not end:
            return blob
        raise Failed(blob, end[-1].rstrip()) from None

    def _body(self, call: _Call) -> Payload:
        inputs.begin(call.inputs)
        if call.head.client and call.head.client not in self._prepared:
            call.preparing = True
            function, (args, kwargs) = (payloads.load(part) for part in call.initializer)
            function(*args, **kwargs)
            self._prepared.add(call.head.client)
            call.preparing = False
        try:
            return payloads.call(call.function, call.arguments, call.head.name)
        finally:
            displays.flush_figures()

    def _described(self, call: _Call, error: Any) -> failures.RemoteFailure:
        if issubclass(type(error), ModuleNotFoundError) and error.name:
            note = (
                f"The worker on {HOST} has no module {error.name!r}: install it there, or send it along: "
                f"cloudpickle.register_pickle_by_value({error.name.partition('.')[0]})"
            )
            with contextlib.suppress(Exception):
                error.__notes__ = [*getattr(error, "__notes__", ()), note]
        where = "initializer" if call.preparing else f"task {call.task_id}"
        name = call.head.initializer if call.preparing else call.head.name
        return failures.describe(error, (ROOT,), f"{where} in process {os.getpid()} on {HOST}", name)

    # ------------------------------------------------------------------ how it is stopped

    @contextlib.contextmanager
    def _listening(self) -> Any:
        """Within it this process's signals are ours; only a main thread has any."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        hook = sys.unraisablehook
        self._interrupts.install()
        signal.signal(signal.SIGTERM, self._on_sigterm)
        try:
            yield
        finally:
            sys.unraisablehook = hook
            for number, handler in former.items():
                signal.signal(number, handler)

    def _ask(self, name: str) -> None:
        """A letter has come, on the mailbox's thread."""
        if name == self._name:
            self._page.ask(self._seq)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # type: ignore[arg-type]

    def _on_sigterm(self, signum: int, frame: FrameType | None) -> None:
        self._leaving = True
        run = self._run
        if run is None or run.asked():  # it had its time
            _leave()
        self._page.ask(self._seq)
        signal.raise_signal(signal.SIGINT)

    def _stopped(self) -> Payload:
        """The interrupt has sufficed. What the task has left here goes with the process."""
        assert self._voice is not None
        self._voice.flush(last=True)
        if self._leaving:  # not as a sign: it may be the worker that ends, and Scaler runs the task elsewhere then
            _leave()
        self._voice.tell(signs.Stopped())
        while True:
            time.sleep(60)  # SIGTERM ends it

    # ------------------------------------------------------------------ its surroundings

    def _new_mailbox(self) -> Mailbox | None:
        if self._processor is None or threading.current_thread() is not threading.main_thread():
            return None
        from scaler.io.network_backends import get_network_backend_from_env

        # Process ids come again, and a process has two of these where two versions of this package are sent to it.
        identity = f"mailbox|{HOST}|{os.getpid()}|{secrets.token_hex(4)}".encode()
        try:
            storage = get_network_backend_from_env().create_sync_object_storage_connector(
                identity, self._processor.object_storage_address()
            )
        except Exception:  # then tasks here can be killed, and not asked; the client is told so by its absence
            return None
        return Mailbox(storage, self._ask, self._moved)

    def _moved(self) -> None:
        voice = self._voice
        if self._mailbox is not None and voice is not None and voice.begun:
            voice.tell(signs.Mailbox(self._mailbox.name))

    def _started(self) -> signs.Started:
        return signs.Started(os.getpid(), HOST, self._mailbox.name if self._mailbox is not None else "")

    def _address(self) -> str:
        """Where the task's own code reaches the cluster."""
        if self._processor is None:
            return ""
        address = self._processor.scheduler_address()
        scheme = {wire: scheme for scheme, wire in SCHEMES.items()}.get(address.type.value)
        return f"{scheme}://{address.host}:{address.port}" if scheme is not None else ""


def _end_of(call: _Call, error: BaseException) -> str:
    if call.preparing:
        return Ended.UNPREPARED
    if not call.head.retry_on:
        return Ended.FAILED
    try:  # a class that travelled by value is the one that the task's own code has
        matches = isinstance(error, pickle.loads(bytes.fromhex(call.head.retry_on)))
    except Exception as problem:
        words = f"{type(problem).__name__}: {problem}"
        print(f"not tried again: what retry_on names cannot be loaded on this worker: {words}", file=sys.stderr)
        return Ended.FAILED_FOR_GOOD
    return Ended.FAILED if matches else Ended.FAILED_FOR_GOOD


def _mend_multiprocessing() -> None:
    """Scaler's process object hides an attribute of multiprocessing's (2.9), and no task could start a process."""
    own: Any = process.current_process()
    if not isinstance(own._identity, tuple):
        own._identity = ()


def _leave() -> None:
    """End this process, with its subprocesses and what its task has submitted to clusters and engines."""
    connection = sys.modules.get(f"{__package__.partition('.')[0]}.client.connection")
    if connection is not None:
        closing = threading.Thread(target=lambda: [each.close() for each in connection.open_connections()], daemon=True)
        closing.start()
        closing.join(CHILDREN_GO)
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    os._exit(1)
