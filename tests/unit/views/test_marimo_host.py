"""In marimo a future displays itself as a widget that needs no more than what marimo gives every anywidget."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from scaler_notebook import FutureGroup, NotebookExecutor
from scaler_notebook.client.waiting.host import current_host, install_host
from scaler_notebook.notebook.marimo.host import MarimoHost, activate
from scaler_notebook.testing import detached_future


@pytest.fixture
def in_marimo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = current_host()
    monkeypatch.setitem(sys.modules, "marimo", cast(Any, SimpleNamespace(running_in_notebook=lambda: True)))
    activate()
    yield
    install_host(before)


def test_a_view_brings_its_script_and_its_style(in_marimo: None) -> None:
    future = detached_future("fit(model)")
    for shown in (future, FutureGroup([future])):
        widget = shown._display_()
        assert "export default" in widget._esm
        assert ".scaler-badge" in widget._css
        widget.close()
    with NotebookExecutor(n_workers=1) as executor:
        widget = executor._display_()
        assert ".scaler-engine" in widget._css
        widget.close()


def test_a_model_that_marimo_has_closed_is_told_nothing_any_more(in_marimo: None) -> None:
    widget = detached_future()._display_()
    (feed,) = (callback.__self__ for callback in widget._msg_callbacks.callbacks)
    widget.comm._closed = True
    feed.publish()
    host = current_host()
    assert isinstance(host, MarimoHost)
    assert not host.our_comms
