"""Clusters whose scheduler dies."""

from __future__ import annotations

import os
import signal

from waits import SAFETY

from scaler_notebook import LocalCluster


def kill_scheduler(cluster: LocalCluster) -> None:
    """SIGKILL a cluster's scheduler, and wait until it is dead; ``cluster.shutdown()`` is still to be called."""
    os.kill(cluster.scheduler_pid, signal.SIGKILL)
    assert cluster.wait(SAFETY)
