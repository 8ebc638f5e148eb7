"""A client's end of a Unix socket."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from waits import SAFETY

from scaler_notebook.engines.local.client.channels import unix_channel
from scaler_notebook.engines.local.client.channels.unix_channel import UnixChannel
from scaler_notebook.protocol.errors import ProtocolError


class Listening:
    """A socket that somebody listens at."""

    def __init__(self, path: Path) -> None:
        self.address = f"ipc://{path}"
        self.path = str(path)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.bind(self.path)
        self.sock.listen(0)


@pytest.fixture
def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listening]:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    listening = Listening(Path("socket"))
    with listening.sock:
        yield listening


def test_a_scheduler_that_accepts_nobody_is_waited_for_not_for_ever(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_channel, "CONNECT_PATIENCE", 0.05)
    waiting: list[UnixChannel] = []
    with contextlib.suppress(OSError):
        while True:
            waiting.append(UnixChannel(listening.address))
    assert waiting
    for each in waiting:
        each.close(0.0)


def test_what_is_no_batch_ends_a_channel(listening: Listening) -> None:
    """An engine of another version may listen there: nobody waits for more from it."""
    channel = UnixChannel(listening.address)
    with listening.sock.accept()[0] as theirs:
        theirs.sendall(b"\xff" + bytes(8) + b"\x7f")
        assert channel.wait(SAFETY)
        with pytest.raises(ProtocolError):
            list(channel.receive())
        assert channel.has_ended
    assert not channel.wait(SAFETY)
    channel.close(0.0)
