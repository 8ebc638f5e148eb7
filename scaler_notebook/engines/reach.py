"""Which engine an address is of."""

from .base import Engine
from .embedded.attached import AttachedEngine
from .scaler.address import is_cluster
from .scaler.engine import ScalerEngine


def engine_at(
    address: str, heartbeat: float = 1.0, silence: float = 60.0, storage_address: str | None = None
) -> Engine:
    """The engine that runs at an address, not started: to be connected to.

    Parameters
    ----------
    heartbeat, silence, storage_address
        Of a cluster, as :class:`~.scaler.engine.ScalerEngine` has them; an engine on this machine needs none.

    Raises
    ------
    TypeError, ValueError
        It is no address of an engine.
    """
    if isinstance(address, str) and is_cluster(address):
        return ScalerEngine(address, heartbeat, silence, storage_address)
    return AttachedEngine(address)
