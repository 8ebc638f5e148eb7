"""A Scaler cluster, until SIGTERM or the end of who started it; see ``scaler_cluster``.

The arguments are the settings, as JSON, and the file to write ``[address, process id of the scheduler]`` to.
"""

import ctypes
import json
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    from scaler import SchedulerClusterCombo

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    settings, file = sys.argv[1:]
    cluster = SchedulerClusterCombo(**json.loads(settings), logging_level="ERROR", logging_paths=("/dev/stderr",))
    try:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        with open(f"{file}.new", "w") as out:
            json.dump([cluster.get_address().replace("tcp://", "scaler://"), cluster._scheduler.pid], out)
        os.rename(f"{file}.new", file)
        while True:
            signal.pause()
    finally:
        cluster.shutdown()
