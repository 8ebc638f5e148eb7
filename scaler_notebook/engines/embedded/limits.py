"""How many files a process may have open: for the user's code what the user had, for our own all that there are.

A large result on its way takes a descriptor for each of its arrays, in the process that made it and in the scheduler.
"""

import contextlib
import resource
from collections.abc import Iterator

USERS = resource.getrlimit(resource.RLIMIT_NOFILE)[0]  # at the import: before the scheduler raises its own


def set_open_files(limit: int | None = None) -> None:
    """Set the soft limit, by default to the hard one. Where the system refuses, the limit stays."""
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if limit is None else limit, hard))


@contextlib.contextmanager
def lifted() -> Iterator[None]:
    """Within ``with``, as many as the system allows; what was opened then stays usable."""
    before, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    set_open_files()
    try:
        yield
    finally:
        set_open_files(before)
