"""The entry point of the scheduler process.

:mod:`scaler_notebook.engines.local.client.launching.launcher` starts the process, and writes one line of configuration
to a pipe, descriptor 0 here. The end of that pipe is the end of the kernel, and so of the scheduler.
"""

import contextlib
import gc
import json
import logging
import os
import signal
import sys
from pathlib import Path

from scaler_notebook.engines.local.ipc import fd_limits
from scaler_notebook.engines.local.ipc.runtime_directory import remove_engine
from scaler_notebook.engines.local.ipc.scheduler_config import Config
from scaler_notebook.protocol.errors import EngineError

from .event_loop import EventLoop
from .log_throttle import LogThrottle
from .processes.fork_server import choose_starter

log = logging.getLogger(__name__)


def _reset_signals() -> None:
    """Unblock all signals, and stop ignoring SIGCHLD: with what a kernel may pass on, no process would be reaped."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def main(config: Config) -> None:
    """Run the scheduler; never returns.

    Parameters
    ----------
    config
        The configuration that the client has sent.
    """
    os.umask(0o077)
    fd_limits.set_open_files()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    for handler in logging.root.handlers:
        handler.addFilter(LogThrottle())
    status = 1
    try:
        _reset_signals()
        gc.freeze()  # a collection touches, and so copies, nothing of what this process shares with the fork server
        starter = choose_starter(config["hello"])
        loop = EventLoop(config, starter)
        try:
            hello = dict(zip(("address", "endpoint"), loop.start(), strict=True))
        except Exception as error:
            hello = {"error": str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"}
            loop.end()  # before the hello: when the client is told of the error, nothing is left
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):  # the kernel has ended meanwhile: the loop finds that out
                os.write(config["hello"], json.dumps(hello).encode() + b"\n")
        try:
            loop.run()
            remove_engine(Path(config["directory"]), config["link"])  # not after a crash: the log is still needed
            status = 0
        finally:
            loop.end()
    except Exception:
        log.exception("the scheduler ends")
    finally:
        logging.shutdown()
        sys.stderr.flush()
        os._exit(status)
