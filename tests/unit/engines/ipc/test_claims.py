"""The claims of runs: each is begun or taken back, and never both."""

from __future__ import annotations

import os
import threading

import pytest
from waits import SAFETY

from scaler_notebook.engines.local.ipc.claims import Claims, OfferedRuns


def test_each_run_is_claimed_or_withdrawn_and_never_both() -> None:
    offered = OfferedRuns()
    claimed: list[int] = []
    withdrawn: list[int] = []
    claims = Claims(read_fd := os.dup(offered.read_fd))

    def claim() -> None:
        while (seq := claims.next()) < 10_000:
            claimed.append(seq)

    thread = threading.Thread(target=claim)
    thread.start()
    for first in range(1, 5_000, 50):
        offered.offer(*range(first, first + 50))
        withdrawn += offered.withdraw(after=first + 9)
    offered.offer(10_000)
    thread.join(SAFETY)
    assert sorted(claimed + withdrawn) == list(range(1, 5_001))
    assert claimed == sorted(claimed), "in the order in which they were offered"
    assert not any((seq - 1) % 50 < 10 for seq in withdrawn), "those up to the one that is held are not taken back"
    offered.close()
    os.close(read_fd)


def test_who_waits_for_a_run_notices_that_nobody_will_offer_one() -> None:
    offered = OfferedRuns()
    claims = Claims(read_fd := os.dup(offered.read_fd))
    offered.close()
    with pytest.raises(ConnectionError, match="the scheduler is gone"):
        claims.next()
    os.close(read_fd)
    with pytest.raises(ConnectionError, match="closed"):
        claims.next()
