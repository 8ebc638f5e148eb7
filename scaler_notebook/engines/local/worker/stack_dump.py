"""A task process's own dump of its stack, for who may not read its memory: ``faulthandler``, by a signal.

The dump goes to a file in memory that the user's other processes find by its name. A real-time signal is taken: those
are left alone between tasks, and hardly any code has a use for one.
"""

import faulthandler
import fcntl
import os
import signal

NAME = "scaler_notebook stack"  # of the file in memory, in /proc
SIGNAL = getattr(signal, "SIGRTMIN", 0) + 13  # zero and more where there are no files in memory either


def install() -> None:
    """Have this process dump the stack of its main thread when the signal comes; not where there is no such file."""
    if not hasattr(os, "memfd_create"):
        return
    try:
        descriptor = os.memfd_create(NAME, os.MFD_CLOEXEC)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)  # the reader empties it
        faulthandler.register(SIGNAL, descriptor, all_threads=False)
    except OSError:  # no descriptor is left: the process runs tasks all the same
        pass
