"""What every test here needs."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def kernels_can_start(jupyter_client_is_warm: None) -> None:
    """What the first kernel of a process makes there and keeps is no test's."""
