"""One class per peer; their packages are imported when one is started."""

from __future__ import annotations

from ..peer import Peer
from .dask_peer import Dask
from .notebook_peer import ScalerNotebook
from .pools import Loky, StandardPool, StandardPoolSpawned
from .ray_peer import Ray, RayForce

PEERS: dict[str, type[Peer]] = {
    each.name: each for each in (ScalerNotebook, Loky, StandardPool, StandardPoolSpawned, Ray, RayForce, Dask)
}
