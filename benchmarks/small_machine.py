"""Run a command as on a small machine, by default one of Binder's: one core, and 2 GB for all of its processes (Linux).

    .venv/bin/python -m benchmarks.small_machine make demo

The core is one that this process may use, and what is started inherits that. The memory is what the processes have in
all (PSS: a page that several share counts once), looked at four times a second: above the limit they are killed, as the
system would, and the command has failed. At the end stands what the most was. No rights are needed for that, unlike for
a control group.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from .machine import refuse_elsewhere
from .peers.processes import MARK, end_run, marked_processes, proportional_memory

LOOK = 0.25  # seconds between two looks at the memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says, and return its exit status; 137 if it took too much memory."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.small_machine", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("--cores", type=int, default=1, help="how many cores (1)")
    parser.add_argument("--memory", type=float, default=2000, metavar="MB", help="megabytes in all (2000)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what is run, with its arguments")
    options = parser.parse_args(arguments)
    if not options.command:
        parser.error("a command is missing, for example: make demo")
    refuse_elsewhere()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # no process is left behind
    allowed = sorted(os.sched_getaffinity(0))
    if not 1 <= options.cores <= len(allowed):
        parser.error(f"--cores is a number between 1 and {len(allowed)}, of the cores that this process may use")
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    os.sched_setaffinity(0, allowed[: options.cores])
    most = 0.0
    process = subprocess.Popen(options.command, env={**os.environ, MARK: mark})
    try:
        while process.poll() is None and most <= options.memory:
            most = max(most, proportional_memory(marked_processes(mark)))
            time.sleep(LOOK)
    finally:
        end_run(mark)
        process.wait()
    cores = "1 core" if options.cores == 1 else f"{options.cores} cores"
    print(f"{cores}; at most {most:,.0f} MB of memory at a time, of {options.memory:,.0f} MB", flush=True)
    return 137 if most > options.memory else process.returncode


if __name__ == "__main__":
    sys.exit(main())
