"""The scheduler process: one selectors loop between the clients' zmq socket and the task processes' raw sockets.

Started by :mod:`scaler_notebook.engines.local.client.launcher`, which writes one line of configuration to a pipe (here
descriptor 0) and keeps it open: its end is the end of the kernel, and of everything here.
"""

import json
import logging
import os
import signal
import sys
from pathlib import Path

from scaler_notebook.engines.local.ipc import fd_limits
from scaler_notebook.engines.local.ipc.runtime_directory import remove
from scaler_notebook.engines.local.ipc.scheduler_config import Config
from scaler_notebook.protocol.errors import EngineError

from .event_loop import EventLoop
from .log_throttle import LogThrottle
from .processes.fork_server import best_starter

log = logging.getLogger(__name__)


def _begin_with_default_signals() -> None:
    """A mask, and a SIGCHLD that is ignored, are inherited from the kernel; with either no death would be noticed."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def main(config: Config) -> None:
    """Entry point of the scheduler process; never returns."""
    os.umask(0o077)
    fd_limits.set_open_files()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    for handler in logging.root.handlers:
        handler.addFilter(LogThrottle())
    status = 1
    try:
        _begin_with_default_signals()
        starter = best_starter(config["hello"])
        loop = EventLoop(config, starter)
        try:
            hello = dict(zip(("address", "endpoint"), loop.start(), strict=True))
        except Exception as error:
            hello = {"error": str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"}
            loop.end()  # first: a client that hears of the error finds nothing left
            raise
        finally:
            os.write(config["hello"], json.dumps(hello).encode() + b"\n")
        try:
            loop.run()
            remove(Path(config["directory"]), config["link"])  # after a crash its log is still wanted
            status = 0
        finally:
            loop.end()
    except Exception:
        log.exception("the scheduler ends")
    finally:
        logging.shutdown()
        sys.stderr.flush()
        os._exit(status)
