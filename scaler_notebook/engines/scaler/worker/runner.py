"""What runs on a worker of Scaler's, around a task: its code, its output, its end, and how it is stopped.

Scaler's worker knows one way to stop what runs: SIGTERM to its process, and SIGKILL 3 s later (2.9,
``worker/agent/processor_holder.py``); the signal alone does not reach a task's code. Here it does, as a
KeyboardInterrupt, and the process of a task that obeys ends at once. A client that only asks does so by way of the
:mod:`.mailbox`; a task that obeys then waits to be ended, for a cancel is confirmed when the process is gone.
"""

import contextlib
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from mmap import PAGESIZE
from multiprocessing import process
from types import FrameType
from typing import Any

import psutil

from scaler_notebook.engines.scaler.wire import inband_events
from scaler_notebook.engines.scaler.wire.address import SCHEMES
from scaler_notebook.engines.scaler.wire.envelope import Ended, Failed, Head
from scaler_notebook.engines.scaler.wire.packing import content, pack, unpack
from scaler_notebook.engines.scaler.wire.processor import current_name, own_processor
from scaler_notebook.engines.scaler.wire.task_names import task_of
from scaler_notebook.protocol.messages import Initializer, SegmentRef
from scaler_notebook.task.current_task import CurrentTask
from scaler_notebook.task.display import displays
from scaler_notebook.task.interruption.ask_page import AskPage
from scaler_notebook.task.interruption.interrupts import ArmedRun, Interrupts
from scaler_notebook.task.isolation.process_state import ProcessState
from scaler_notebook.task.progress import watch_for_tqdm
from scaler_notebook.task.runner import Call, Finished, TaskRunner, Transport

from .bootstrap import ROOT
from .delayed_call import Alarm
from .mailbox import Mailbox
from .output import Voice

ANNOUNCE_AFTER = 0.005  # seconds; that a task runs is not worth a message if it ends sooner
SPEAK_EVERY = 0.04  # seconds; output and progress that come faster go together
CHILDREN_GO = 1.0  # seconds that tasks which a cancelled task has submitted get to be cancelled, before it is gone
HOST = socket.gethostname()


def run(arguments: bytes, function: bytes, initializer: bytes, *given: bytes) -> bytes:
    """Run a task: the packed payload of what it returns.

    Parameters
    ----------
    arguments
        Packed, with a :class:`~scaler_notebook.engines.scaler.wire.envelope.Head`.
    function, initializer, given
        Packed: the function, the two packed parts of what is called before the client's first task in this process,
        and the task's inputs.

    Raises
    ------
    Failed
        The task has failed.
    """
    encoded, payload = unpack(arguments)
    head, name = Head.decode(encoded), current_name()
    inputs = {each: unpack(blob)[1] for each, blob in zip(head.inputs, given, strict=True)}
    call = Call(task_of(name), head.name, unpack(function)[1], payload, inputs, bytes.fromhex(head.retry_on))
    return _process().run(name, call, _initializer(head, initializer), head.stays)


def _initializer(head: Head, packed: bytes) -> Initializer:
    _, both = unpack(packed)
    parts = (both.data, *both.buffers)  # function and arguments
    payloads = [unpack(content(part))[1] for part in parts if not isinstance(part, SegmentRef)]
    return Initializer(head.client, head.initializer, *payloads) if head.client else Initializer()


def _not_torn(armed: ArmedRun) -> AbstractContextManager[None]:
    """An interrupt comes to the main thread alone; others that keep talking must not keep it back."""
    return armed.shield() if threading.current_thread() is threading.main_thread() else nullcontext()


@cache
def _process() -> "_Process":
    return _Process()


class _Process(Transport):
    """This process, as long as it runs tasks of clients of ours."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile() as file:
            file.truncate(PAGESIZE)
            self._page = AskPage(file.fileno())
        self._interrupts = Interrupts(self._page, to_group=False)
        self._runner = TaskRunner(self, (ROOT,), f"in process {os.getpid()} on {HOST}")
        self._state = ProcessState()
        self._run: ArmedRun | None = None
        self._name = ""  # the task's, at the cluster
        self._voice: Voice | None = None
        self._alarm, self._pace = Alarm(ANNOUNCE_AFTER), Alarm(SPEAK_EVERY)
        self._seq = 0
        self._leaving = False  # the worker ends this process
        self._processor = own_processor()
        self._mailbox = self._new_mailbox()
        _mend_multiprocessing()
        displays.prefer_inline_figures()
        watch_for_tqdm()
        displays.watch_for_ipython()

    # ------------------------------------------------------------------ one task

    def run(self, name: str, call: Call, initializer: Initializer, stays: bool) -> bytes:
        """:func:`run`; ``name`` is the task's at the cluster, and ``stays`` says that its value stays there."""
        self._seq += 1
        out, err = sys.stdout, sys.stderr
        armed = self._interrupts.new_run(self._seq)
        voice = Voice(out, err, self._started, self._alarm, self._pace, whole=partial(_not_torn, armed))
        task = CurrentTask(
            call.task_id, call.name, armed.asked, armed.shield, voice.report, voice.publish, self._address()
        )
        guard = partial(self._guard, armed)
        self._state.settle()
        with self._listening():
            self._name, self._voice, self._run = name, voice, armed
            sys.stdout, sys.stderr = voice.stdout, voice.stderr
            voice.begin()
            try:
                finished, figures = self._runner.run(call, task, initializer, guard)
            finally:
                self._name = ""
                sys.stdout, sys.stderr = out, err
        self._run = None
        self._state.put_back()  # what cannot be put back stays, for the process is Scaler's
        ended = Ended.of(figures, finished.end.value, finished.summary)
        if stays:
            voice.tell(inband_events.Ended(ended.encode().decode()))
        voice.close()
        blob = pack(finished.payload, ended.encode())
        if finished.failure is None:
            return blob
        raise Failed(blob, finished.failure.links[0].headline.rstrip()) from None

    def _guard(
        self, armed: ArmedRun, body: Callable[[], Finished], failed: Callable[[BaseException], Finished]
    ) -> Finished:
        return self._interrupts.run(armed, body, self._stopped, failed)

    # ------------------------------------------------------------------ what the runner asks for

    def explain(self, error: BaseException) -> None:
        if issubclass(type(error), ModuleNotFoundError) and (name := getattr(error, "name", None)):
            note = (
                f"The worker on {HOST} has no module {name!r}: install it there, or send it along: "
                f"cloudpickle.register_pickle_by_value({name.partition('.')[0]})"
            )
            noted: Any = error  # mypy for Python 3.10 knows no notes
            noted.__notes__ = [*getattr(error, "__notes__", ()), note]

    def preparing(self, begins: bool) -> None:
        self._state.initializer(begins)

    def flush(self) -> None:
        if self._voice is not None:
            self._voice.flush()

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

    def _stopped(self) -> Finished:
        """The interrupt has sufficed. What the task has left here goes with the process."""
        assert self._voice is not None
        self._voice.flush(last=True)
        if self._leaving:  # not as a sign: it may be the worker that ends, and Scaler runs the task elsewhere then
            _leave()
        self._voice.tell(inband_events.Stopped())
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
            voice.tell(inband_events.Mailbox(self._mailbox.name))

    def _started(self) -> inband_events.Started:
        return inband_events.Started(os.getpid(), HOST, self._mailbox.name if self._mailbox is not None else "")

    def _address(self) -> str:
        """Where the task's own code reaches the cluster."""
        if self._processor is None:
            return ""
        address = self._processor.scheduler_address()
        scheme = {wire: scheme for scheme, wire in SCHEMES.items()}.get(address.type.value)
        return f"{scheme}://{address.host}:{address.port}" if scheme is not None else ""


def _mend_multiprocessing() -> None:
    """Scaler's process object hides an attribute of multiprocessing's (2.9), and no task could start a process."""
    own: Any = process.current_process()
    if not isinstance(own._identity, tuple):
        own._identity = ()


def _leave() -> None:
    """End this process, with its subprocesses and what its task has submitted to clusters and engines."""
    connection = sys.modules.get(f"{__package__.partition('.')[0]}.client.agent.connection")
    if connection is not None:
        closing = threading.Thread(target=lambda: [each.close() for each in connection.open_connections()], daemon=True)
        closing.start()
        closing.join(CHILDREN_GO)
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    os._exit(1)
