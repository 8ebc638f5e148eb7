"""Which engine an address is of."""

from .base import Engine
from .local.client.attached import AttachedEngine
from .scaler.client.engine import ScalerEngine
from .scaler.wire.address import is_cluster

CLUSTER_SILENCE = 60.0  # seconds


def engine_at(
    address: str, heartbeat: float = 1.0, silence: float | None = None, storage_address: str | None = None
) -> Engine:
    """The engine that runs at an address, not started: to be connected to.

    Parameters
    ----------
    heartbeat
        After how many seconds it is asked for a sign of life again.
    silence
        After how many seconds without one it counts as lost. None: a cluster after a minute, and an engine on this
        machine, whose death is seen at once, never.
    storage_address
        Of a cluster, as :class:`~.scaler.client.engine.ScalerEngine` has it.

    Raises
    ------
    TypeError, ValueError
        It is no address of an engine.
    """
    if isinstance(address, str) and is_cluster(address):
        return ScalerEngine(address, heartbeat, CLUSTER_SILENCE if silence is None else silence, storage_address)
    return AttachedEngine(address, heartbeat, silence)
