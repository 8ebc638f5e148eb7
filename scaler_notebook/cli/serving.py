"""``scaler-notebook cluster``: an engine in the foreground, or without a terminal."""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import FrameType

from scaler_notebook.client.cluster import LocalCluster
from scaler_notebook.client.submission.capability_argument import parse_gpus
from scaler_notebook.protocol.errors import EngineStartError
from scaler_notebook.task.modules.installation import installed_first

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# The detached process imports this very package, whatever the working directory holds.
BOOTSTRAP = """
import sys
sys.path.sort(key=lambda entry: not entry.startswith(sys.base_prefix))
import json
sys.path[:] = json.loads(sys.argv[1])
from scaler_notebook.cli.command import main
sys.exit(main(sys.argv[2:]))
"""


class _StopSignal(BaseException):
    """A signal has asked this process to end."""


def run(options: argparse.Namespace) -> int:
    """Serve until a signal, a client or ``scaler-notebook stop`` ends the cluster."""
    if options.detach:
        return _detach(options)
    with _stop_on_signals():
        try:
            with _start_cluster(options) as cluster:
                _announce(cluster, options.report)
                cluster.wait()
                problem = cluster.problem
        except _StopSignal:
            problem = ""
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(f"scaler-notebook: {problem}" if problem else "ended", file=sys.stderr if problem else sys.stdout)
        sys.stdout.flush()
    return 1 if problem else 0


def _start_cluster(options: argparse.Namespace) -> LocalCluster:
    """Start the cluster that a command line asks for.

    Raises
    ------
    EngineStartError
        The cluster could not be started, or a value of an option is wrong.
    """
    try:
        return LocalCluster(
            options.address,
            options.workers,
            capabilities=dict(options.capability) if options.capability else None,
            gpus=parse_gpus(options.gpus) if options.gpus is not None else None,
            idle_timeout=options.idle_timeout,
            protected=options.protected,
        )
    except (TypeError, ValueError) as error:
        raise EngineStartError(str(error)) from None


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[None]:
    """Raise :class:`_StopSignal` at the first signal that asks for the end; later ones are ignored.

    A signal that the caller ignores (``nohup``) stays ignored.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        """Raise, once."""
        for each in former:
            signal.signal(each, signal.SIG_IGN)
        raise _StopSignal

    former = {each: signal.getsignal(each) for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN}
    for each in former:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)


def _announce(cluster: LocalCluster, report: bool) -> None:
    """Print where the cluster is.

    Parameters
    ----------
    cluster
        The cluster, which has started.
    report
        Print for the process that has detached this one, as JSON, and leave the terminal.
    """
    if report:
        print(json.dumps({"address": cluster.address, "workers": cluster.n_workers}), flush=True)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        os.close(null)
        return
    print(f"{_ready_text(cluster.address, cluster.n_workers)}\nCtrl-C ends it, with everything it runs", flush=True)


def _ready_text(address: str, workers: int) -> str:
    """Write for a person where an engine runs and how to use it.

    Parameters
    ----------
    address
        The address of the engine.
    workers
        How many tasks it runs at the same time.
    """
    return (
        f"an engine with {workers} worker{'s' if workers != 1 else ''} runs at {address}\n"
        f'in a notebook: NotebookExecutor("{address}"), or %scaler connect {address}'
    )


def _detach(options: argparse.Namespace) -> int:
    """Start the cluster in a process of its own, without this terminal, and return when it is ready.

    Returns
    -------
    int
        The exit status: 0 if the cluster runs.
    """
    arguments = ["cluster", "--report"]
    arguments += ["--address", options.address] if options.address is not None else []
    arguments += ["--workers", str(options.workers)] if options.workers is not None else []
    for name, amount in options.capability or ():
        arguments += ["--capability", f"{name}={amount}"]
    arguments += ["--gpus", options.gpus] if options.gpus is not None else []
    arguments += ["--idle-timeout", str(options.idle_timeout)] if options.idle_timeout is not None else []
    arguments += ["--protected"] if options.protected else []
    process = subprocess.Popen(
        [sys.executable, "-c", BOOTSTRAP, json.dumps(installed_first(sys.path)), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        line = process.stdout.readline()
        if not line:
            print(process.stderr.read().strip() or "scaler-notebook: it ended at once", file=sys.stderr)
            return process.wait() or 1
    found = json.loads(line)
    print(f"{_ready_text(found['address'], found['workers'])}\nscaler-notebook stop {found['address']} ends it")
    process.returncode = 0  # it outlives us: else subprocess would warn that it still runs
    return 0
