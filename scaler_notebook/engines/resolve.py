"""The choice of an engine by its address."""

from .base import Engine
from .local.client.attached import AttachedEngine
from .scaler.wire.address import is_cluster

CLUSTER_SILENCE = 60.0  # seconds


def engine_at(
    address: str, heartbeat: float = 1.0, silence: float | None = None, storage_address: str | None = None
) -> Engine:
    """Return the engine that runs at an address, not started, for a client to connect to.

    Parameters
    ----------
    address
        The address, of an engine on this machine or of an OpenGRIS Scaler cluster.
    heartbeat
        Seconds between two questions for a sign of life.
    silence
        Seconds without a sign of life after which the engine counts as lost. None: a minute for a cluster, and never
        for an engine on this machine, whose death is seen at once.
    storage_address
        The object storage of a cluster, as :class:`~.scaler.client.engine.ScalerEngine` has it.

    Raises
    ------
    TypeError, ValueError
        The address is not that of an engine.
    """
    if isinstance(address, str) and is_cluster(address):
        from .scaler.client.engine import ScalerEngine  # here, so that the start of a local engine does not wait for it

        return ScalerEngine(address, heartbeat, CLUSTER_SILENCE if silence is None else silence, storage_address)
    return AttachedEngine(address, heartbeat, silence)
