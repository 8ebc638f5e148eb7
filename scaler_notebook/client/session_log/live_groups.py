"""The groups of this process that somebody holds, and the cells that submitted them, for the view of an executor."""

import weakref
from collections import deque
from typing import Any, NamedTuple

from scaler_notebook import forks
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.client.waiting.host import current_host

MAX_GROUPS = 1_000  # the newest are known


class SubmittedGroup(NamedTuple):
    """A group, and the number of the cell that submitted it; None outside a notebook."""

    group: FutureGroup[Any]
    cell: int | None


_groups: "deque[tuple[weakref.ref[FutureGroup[Any]], int | None]]" = deque(maxlen=MAX_GROUPS)


@forks.after_fork_in_child
def _forget() -> None:
    """In a forked child: leave the groups to the parent."""
    _groups.clear()


def add(group: FutureGroup[Any]) -> None:
    """Note a group whose tasks were just submitted, by the cell that runs."""
    _groups.append((weakref.ref(group), current_host().cell_number))


def living() -> list[SubmittedGroup]:
    """Return the groups that somebody holds, the newest first."""
    known = ((reference(), cell) for reference, cell in reversed(list(_groups)))
    return [SubmittedGroup(group, cell) for group, cell in known if group is not None]
