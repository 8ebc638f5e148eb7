"""A log that one peer cannot fill."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from scaler_notebook.engines.local.scheduler.log_throttle import IN_FULL, SLOWER, LogThrottle


@pytest.fixture
def logged() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    logger, stream = logging.Logger("often said"), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(LogThrottle())
    logger.addHandler(handler)
    yield logger, stream
    handler.close()


def test_what_is_said_over_and_over_is_said_less_often(logged: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = logged
    for number in range(IN_FULL + 5 * SLOWER):
        logger.error("client %d sent nonsense", number)
    lines = stream.getvalue().splitlines()
    assert IN_FULL < len(lines) <= IN_FULL + 5
    assert lines[0] == "client 0 sent nonsense"
    assert lines[-1] == f"client {IN_FULL + 5 * SLOWER - IN_FULL - 1} sent nonsense (said 5,000 times so far)"


def test_something_else_is_heard_all_the_same(logged: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = logged
    for _ in range(2 * IN_FULL):
        logger.error("nonsense")
    logger.warning("the disk is full")
    assert stream.getvalue().endswith("the disk is full\n")
    assert sys.getsizeof(stream.getvalue()) < 10 * IN_FULL * len("nonsense")
