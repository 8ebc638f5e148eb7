"""One case of one peer, in this process: what ``rounds.py`` starts, once for each figure.

    python -m benchmarks.peers.run PEER CASE FILE [--quick]

The outcome is written to ``FILE`` as JSON. Whatever a peer prints goes to stderr.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from ..machine import installed_versions
from .adapters import PEERS
from .cases import CASES
from .floor import FLOORS
from .outcome import Outcome
from .processes import kill_all, run_processes
from .sizes import Sizes, sizes_of

FLOOR_DISTRIBUTIONS = ("pyzmq", "cloudpickle")


def measure(peer: str, case: str, sizes: Sizes) -> Outcome:
    """Run a case of a peer, or of a floor.

    Parameters
    ----------
    peer
        The name of a peer or floor.
    case
        The name of a case.
    sizes
        How much of everything.
    """
    if peer in FLOORS:
        return FLOORS[peer][case](sizes)
    return CASES[case](PEERS[peer](), sizes)


def main() -> None:
    """Run what the command line says; ends this process and all that it has started."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.run")
    parser.add_argument("peer", choices=[*PEERS, *FLOORS])
    parser.add_argument("case", choices=list(CASES))
    parser.add_argument("file", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    os.dup2(2, 1)
    found: dict[str, Any]
    try:
        found = dataclasses.asdict(measure(options.peer, options.case, sizes_of(options.quick)))
    except BaseException as error:
        traceback.print_exc()
        found = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    distributions = PEERS[options.peer].distributions if options.peer in PEERS else FLOOR_DISTRIBUTIONS
    found["versions"] = installed_versions((*distributions, "numpy"))
    options.file.write_text(json.dumps(found))
    sys.stderr.flush()
    kill_all(run_processes())
    os._exit(0)  # no peer's own end may keep this process


if __name__ == "__main__":
    main()
