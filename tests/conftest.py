"""Fixtures: executors that end with their test, and the proof that nothing outlives it."""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scaler_notebook import NotebookExecutor

if TYPE_CHECKING:
    from lab import LabServer
    from playwright.sync_api import BrowserContext

MARKER = "SCALER_NOTEBOOK_TEST_RUN"
PATIENCE = 5.0  # seconds until what was ended must be gone

# Every process that a test starts inherits it, also those that no longer descend from us.
os.environ[MARKER] = secrets.token_hex(8)


def our_processes() -> set[int]:
    """Processes of this test run other than this one; zombies count, for somebody forgot to wait for them."""
    wanted = f"{MARKER}={os.environ[MARKER]}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
            except OSError:
                continue
    return found


def our_threads() -> set[str]:
    """Threads of the package that must end with their executor (those of callbacks and views serve all)."""
    kept = {"scaler_notebook callbacks", "scaler_notebook publisher"}
    return {t.name for t in threading.enumerate() if t.name.startswith("scaler_notebook")} - kept


def open_files() -> dict[str, int]:
    """Sockets, memory files and pipes of this process, by kind."""
    counts: dict[str, int] = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            kind = os.readlink(entry).split(":")[0]
        except OSError:
            continue
        if kind in ("socket", "pipe") or kind.startswith("/memfd"):
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def engine_directories() -> set[Path]:
    """Private directories of engines that this process started."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp") / f"scaler_notebook-{os.getuid()}"
    return set(base.glob(f"{os.getpid()}-*"))


@pytest.fixture(autouse=True)
def nothing_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """No process, thread, socket, memory file or directory outlives its test."""
    processes, files = our_processes(), open_files()
    yield
    deadline = time.monotonic() + PATIENCE
    while True:
        leaks = {
            "processes": our_processes() - processes,
            "threads": our_threads(),
            "files": {kind: n for kind, n in open_files().items() if n > files.get(kind, 0)},
            "directories": engine_directories(),
        }
        if "shared_server" in request.fixturenames:  # it ends with the session, the browser with the module
            leaks["processes"] = set()
            leaks["files"] = {}
        if not any(leaks.values()):
            return
        if time.monotonic() > deadline:
            pytest.fail(f"left behind: { {what: found for what, found in leaks.items() if found} }")
        time.sleep(0.01)


@pytest.fixture
def executor() -> Iterator[NotebookExecutor]:
    """An executor with two workers on the real engine, and a short grace period."""
    with NotebookExecutor(n_workers=2, grace=0.3) as ex:
        yield ex
        ex.cancel_all()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """One JupyterLab for all tests that need one."""
    from lab import LabServer

    server = LabServer(tmp_path_factory.mktemp("lab"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def context(shared_server: LabServer) -> Iterator[BrowserContext]:
    """A browser; while it is open, an asyncio loop counts as running on this thread."""
    from lab import browser

    with browser() as opened:
        yield opened


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A skipped test is a failed one, unless the README's table of what is not tested names it."""
    if scaler_cluster := sys.modules.get("scaler_cluster"):
        scaler_cluster.stop_shared()
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    unexplained = [report.nodeid for report in skipped if report.nodeid.split("::")[-1].split("[")[0] not in readme]
    if unexplained and session.exitstatus == 0:
        session.exitstatus = 1
        reporter.write_line(f"skipped without a reason in README.md: {', '.join(unexplained)}", red=True)
