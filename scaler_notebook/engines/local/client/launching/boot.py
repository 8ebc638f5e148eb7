"""The interpreter of a scheduler process, and what it runs first."""

import os
import subprocess
import sys

from scaler_notebook.engines.local.resource_limits import thread_environment
from scaler_notebook.task import top_level

# No code of the user's is imported in the scheduler, so no __main__ guard is needed. The standard library is first on
# the path, before the kernel's directory and what PYTHONPATH names: no file of the user's shadows a module of it. This
# package is then found where the client has found it. The user's sitecustomize has run, however: what it prints, and
# what it starts, has the standard streams to itself.
BOOT = """
import sys
sys.path.sort(key=lambda entry: not entry.startswith(sys.base_prefix))
import json, os
lifeline = int(sys.argv.pop())
for stream in filter(None, (sys.stdout, sys.stderr)):
    stream.flush()
os.dup2(lifeline, 0)
os.close(lifeline)
line = b""
while not line.endswith(b"\\n"):
    data = os.read(0, 65536)
    if not data:
        os._exit(0)
    line += data
path, config = json.loads(line)
sys.path[:] = path
os.set_inheritable(config["hello"], False)
from scaler_notebook.engines.local.scheduler.main import main
main(config)
"""


def boot_scheduler(lifeline: int, hello: int, log: int, workers: int) -> "subprocess.Popen[bytes]":
    """Start the interpreter of a scheduler, which then waits for one line of JSON: ``[sys.path, Config]``.

    Parameters
    ----------
    lifeline
        The descriptor that the scheduler reads the line from; its end is the end of the kernel.
    hello
        The descriptor that the scheduler answers on.
    log
        The descriptor of the scheduler's log.
    workers
        How many task processes share the cores of this machine.
    """
    nested = {top_level.VARIABLE: str(top_level.depth() + 1)}
    return subprocess.Popen(
        [sys.executable, "-c", BOOT, str(lifeline)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=(lifeline, hello),
        env={**os.environ, **thread_environment(max(1, workers)), **nested},
        start_new_session=True,  # Jupyter interrupts the kernel's whole process group
    )
