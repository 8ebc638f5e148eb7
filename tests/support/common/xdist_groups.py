"""Which tests pytest-xdist gives to one worker, because they share what is slow to start."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

WHOLE_FOLDERS = ("browser", "clusters")  # one JupyterLab and Chromium; one cluster of Scaler's
WHOLE_MODULES = ("kernel", "docs")  # a kernel for each module's tests


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Gives a worker all tests of a group, one after the other; a test of no group goes to whoever is free.

    pytest-xdist's own groups, by marker, have no effect under pytest 9.2: they are written into an attribute that
    pytest does not read any more.
    """

    def _split_scope(self, nodeid: str) -> str:
        """The name of a test's group; a test of no group is one of its own."""
        path, _, name = nodeid.partition("::")
        _, _, folder_and_module = path.rpartition("tests/")
        folder = folder_and_module.partition("/")[0]
        if "[scaler-" in name:
            return "clusters"
        if folder in WHOLE_FOLDERS:
            return folder
        return path if folder in WHOLE_MODULES else nodeid
