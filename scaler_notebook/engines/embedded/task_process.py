"""The process that runs tasks, one at a time, on its main thread."""

import importlib
import logging
import os
import pickle
import random
import select
import signal
import socket
import sys
import traceback
import types
from contextlib import suppress
from functools import partial
from multiprocessing import process
from pathlib import Path

from ...protocol import failures, payloads
from ...protocol.addressing import Receiver
from ...protocol.errors import ProtocolError
from ...protocol.messages import ClientContext, Initializer, Payload
from .. import current_task, displays, inputs
from ..progress import watch_for_tqdm
from . import limits
from .cores import THREAD_VARIABLES
from .inner import INNER_CODEC, PROCESS_CAPACITY, End, Ended, Home, Ready, Run, Warm
from .interrupts import AskPage, Interrupts
from .measuring import Measurement
from .segments import close_all, mapped, written
from .stream import Assembler, send_blocking
from .writing import TaskStreams

OWN_FILES = (str(Path(__file__).parents[2]) + os.sep,)


def main(sock: socket.socket, page_fd: int, records_fd: int) -> None:
    """Serve runs until the scheduler goes away; never returns.

    Parameters
    ----------
    sock
        A blocking stream socket to the scheduler.
    page_fd
        The shared page of :class:`~.interrupts.AskPage`; closed here once mapped.
    records_fd
        The file for what :class:`~.writing.TaskStreams` notes.
    """
    status = 1
    try:
        page = AskPage(page_fd)
        os.close(page_fd)
        _settle_in()
        streams = TaskStreams(records_fd)
        streams.begin()
        watch_for_tqdm()
        displays.watch_for_ipython()
        _Server(sock, page, streams).serve()
        status = 0
    except (ConnectionError, ProtocolError):
        pass  # the scheduler is gone, or we are of no use to it: either way it sees our end
    finally:
        os._exit(status)  # no atexit handler and no thread of a task may keep us


def _settle_in() -> None:
    """Be nobody's copy: an own random state, an own ``__main__``, no handlers of the scheduler's log."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    # Whatever pickles by reference to __main__ must fail to be found here, not find our start-up module.
    sys.modules["__main__"] = types.ModuleType("__main__")
    logging.root.handlers.clear()
    logging.root.setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    importlib.invalidate_caches()


class _Server:
    def __init__(self, sock: socket.socket, page: AskPage, streams: TaskStreams) -> None:
        self._sock = sock
        self._page = page
        self._interrupts = Interrupts(page)
        self._streams = streams
        self._receiver = Receiver(PROCESS_CAPACITY)
        self._lent: list[int] = []
        self._directory = ""  # of the kernel
        self._home = ""  # address of the engine
        self._initializer = Initializer()
        self._prepared_for = {""}  # the clients whose initializer has run
        self._known = set(sys.modules)
        self._pid = os.getpid()

    def serve(self) -> None:
        self._interrupts.install()
        send_blocking(self._sock, INNER_CODEC.encode([Ready(os.getpid())]))
        assembler = Assembler()
        while assembler.read(self._sock):
            for frames in assembler.batches():
                for message in INNER_CODEC.decode(frames):
                    match message:
                        case Run():
                            self._run(message)
                        case ClientContext():
                            self._move(message)
                        case Warm():
                            self._warm(message)
                        case Home():
                            self._home = message.address

    def _move(self, context: ClientContext) -> None:
        """Take on the kernel's surroundings; the directory at each run, for a task may change it."""
        self._directory, self._initializer = context.directory, context.initializer
        process.current_process().authkey = context.authkey
        sys.path[:] = context.path
        importlib.invalidate_caches()
        wanted = dict(setting.partition("=")[::2] for setting in context.environment)
        kept = {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}
        for name in os.environ.keys() - wanted.keys() - kept.keys():
            del os.environ[name]
        os.environ.update({name: value for name, value in wanted.items() if os.environ.get(name) != value})

    def _warm(self, warm: Warm) -> None:
        """Import until there is something better to do."""
        for name in warm.modules:
            if select.select([self._sock], [], [], 0)[0]:
                break
            with suppress(Exception):  # a module that some task could import, and we cannot, is that task's business
                importlib.import_module(name)
        self._known = set(sys.modules)
        if warm.modules:
            send_blocking(self._sock, INNER_CODEC.encode([Ready(os.getpid())]))

    def _new_modules(self) -> tuple[str, ...]:
        if len(sys.modules) == len(self._known):
            return ()
        new = [name for name in list(sys.modules) if name not in self._known and not name.startswith("_")]
        self._known = set(sys.modules)
        return tuple(name for name in new if "._" not in name)

    def _run(self, run: Run) -> None:
        self._interrupts.install()
        close_all(self._lent)
        self._lent = []
        armed = self._interrupts.new_run(run.seq)
        # Here, not in the body: what an interrupt cut short would leave the two ends with different memories.
        function, arguments = self._receiver.complete(run.function), self._receiver.complete(run.arguments)
        given = {each.name: self._receiver.complete(each.value) for each in run.inputs}
        reporter = partial(self._page.progress.write, run.seq)
        publisher = self._streams.display
        self._streams.begin()
        measurement = Measurement()
        current_task.begin(
            current_task.CurrentTask(run.task_id, run.name, armed.asked, armed.shield, reporter, publisher, self._home)
        )
        end, payload = self._interrupts.run(
            armed,
            body=lambda: (End.SUCCESS, self._call(function, arguments, run.name, given)),
            stopped=lambda: (End.STOPPED, Payload(b"")),
            failed=partial(self._failure, run),
        )
        current_task.end()
        figures = measurement.figures()
        inputs.end()
        self._streams.flush()
        if os.getpid() != self._pid:  # a process that the task has forked, and let return: it is not the task
            os._exit(end is not End.SUCCESS)
        send_blocking(self._sock, INNER_CODEC.encode([Ended(run.seq, end, payload, figures, self._new_modules())]))

    def _failure(self, run: Run, error: BaseException) -> tuple[End, Payload]:
        if os.getpid() != self._pid:
            traceback.print_exception(error)
        if self._page.preparing:
            self._page.preparing = False
            where = f"initializer in process {self._pid}"
            return End.UNPREPARED, payloads.dump(failures.describe(error, OWN_FILES, where, self._initializer.name))
        where = f"task {run.task_id} in process {self._pid}"
        failure = failures.describe(error, OWN_FILES, where, run.name)
        end = End.FAILED if run.last or _is_to_retry(run, error) else End.FAILED_FOR_GOOD
        if end is End.FAILED and not run.last:  # its output alone will tell of it
            with suppress(Exception):
                print(failures.render(failure).rstrip(), file=sys.stderr)
        return end, payloads.dump(failure)

    def _lend(self, payload: Payload) -> Payload:
        """Put large buffers of a result where they outlive us; the scheduler has opened them when it sends more."""
        if payload.buffers:
            with limits.lifted():
                payload, self._lent = written(payload)
        return payload

    def _prepare(self) -> None:
        """Call what the client of this run has called first in each process; a part of the run, as :meth:`_call` is."""
        initializer = self._initializer
        if initializer.client not in self._prepared_for:
            self._page.preparing = True
            function = payloads.load(mapped(initializer.function))
            args, kwargs = payloads.load(mapped(initializer.arguments))
            function(*args, **kwargs)
            self._prepared_for.add(initializer.client)
            self._page.preparing = False

    def _call(self, function: Payload, arguments: Payload, name: str, given: dict[str, Payload]) -> Payload:
        """Unpickling and pickling run the user's code too: they are part of the task, and can be interrupted."""
        if self._directory and self._directory != _working_directory():
            os.chdir(self._directory)
        inputs.begin({name: mapped(value) for name, value in given.items()})
        self._prepare()
        try:
            value = payloads.call(mapped(function), mapped(arguments), name)
        except Exception:
            displays.flush_figures()
            raise
        displays.flush_figures()
        return self._lend(value)


def _is_to_retry(run: Run, error: BaseException) -> bool:
    if not run.retry_on:
        return True
    try:  # a class that travelled by value is the one that the task's own code has
        return isinstance(error, pickle.loads(run.retry_on))
    except Exception as problem:
        with suppress(Exception):
            words = f"{type(problem).__name__}: {problem}"
            print(f"not tried again: what retry_on names cannot be loaded in this process: {words}", file=sys.stderr)
        return False


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""
