"""The table behind a board: a short row for each of many futures, and which rows have changed."""

import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.session_log import live_futures
from scaler_notebook.client.task_state.observed_task import ObservedTask

from .board_row import ENDED, KINDS, BoardRow, Kind, read_row
from .nested_rows import NestedRows


class TaskTable:
    """Rows in the order in which their futures came. A row's number is its place, and never changes.

    A call that is submitted again when its task has ended stays in its row, which shows the newest future of it.

    The table holds no future that has ended: a row stays when its future is gone. A change is only noted where it
    happens; :meth:`take_in` reads the future, on the thread that looks.

    Parameters
    ----------
    futures
        The first futures.

    Attributes
    ----------
    on_change
        Called when there is something to take in, on any thread; must not block.
    newest_first
        Whether a board shows the newest rows first.
    nested
        The tasks that the tasks of the rows have submitted.
    """

    newest_first = False

    def __init__(self, futures: Iterable[ScalerFuture[Any]]) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._new: deque[ScalerFuture[Any]] = deque(futures)
        self._dirty: dict[str, ScalerFuture[Any]] = {}
        self._mutex = threading.Lock()  # guards the attributes below
        self._numbers: dict[str, int] = {}
        self._ids: list[str] = []  # of the tasks that rows show
        self._futures: list[weakref.ref[ScalerFuture[Any]]] = []
        self._earlier_futures: list[
            weakref.ref[ScalerFuture[Any]]
        ] = []  # that rows have shown, and may be retried again
        self._rows: list[BoardRow] = []
        self.nested = NestedRows()
        self._earlier_tries: Counter[int] = Counter()  # by number, of the futures that a row has shown before
        self._changed_rows: set[int] = set()
        self._version = 0
        self._counts: Counter[int] = Counter()
        self.take_in()

    def add(self, future: ScalerFuture[Any]) -> None:
        """Add a future, on any thread. One that is in the table already stays where it is."""
        self._new.append(future)
        self.on_change()

    def _changed(self, future: ObservedTask) -> None:
        """Note that a future has changed."""
        assert isinstance(future, ScalerFuture)
        self._dirty[future.task_id] = future
        self.on_change()

    def take_in(self) -> None:
        """Read the futures that are new or have changed."""
        with self._mutex:
            for _ in range(len(self._new)):
                self._append(self._new.popleft())
            for _ in range(len(self._dirty)):
                _, future = self._dirty.popitem()
                self._read_again(future)

    def _append(self, future: ScalerFuture[Any]) -> None:
        """Give a future that has no row a new one, or that of the task which it retries, if that has ended."""
        if future.task_id in self._numbers:
            return
        future.watch(self._changed)  # before it is read: a change in between would be lost
        number = self._numbers.get(future.retry_of)
        shown = None if number is None else self._futures[number]()
        if number is not None and (shown is None or shown.done()):
            self._take_over(number, future)
        else:
            number = len(self._rows)
            row = self._read(number, future)
            self._ids.append(future.task_id)
            self._futures.append(weakref.ref(future))
            self._rows.append(row)
            self._counts[row.kind] += 1
            self._record_change(number)
        self._numbers[future.task_id] = number
        self._follow(future)

    def _take_over(self, number: int, retry: ScalerFuture[Any]) -> None:
        """Have a row show another try of its call.

        Parameters
        ----------
        number
            The number of the row.
        retry
            The future that it shows from now on.
        """
        self._earlier_futures.append(self._futures[number])
        self._earlier_tries[number] = self._rows[number].tries
        self._ids[number] = retry.task_id
        self._futures[number] = weakref.ref(retry)
        self._replace_row(number, self._read(number, retry))

    def _read(self, number: int, future: ScalerFuture[Any]) -> BoardRow:
        """Read the future of a row.

        Parameters
        ----------
        number
            The number of the row.
        future
            The future.
        """
        row = read_row(future)
        self.nested.read(number, future)
        return row._replace(tries=row.tries + self._earlier_tries[number])

    def _read_again(self, future: ScalerFuture[Any]) -> None:
        """Read a future that has changed."""
        number = self._numbers[future.task_id]
        if self._futures[number]() is future:
            self._replace_row(number, self._read(number, future))
        self._follow(future)

    def _follow(self, future: ScalerFuture[Any]) -> None:
        """Take in the retry of a future, if there is one: views of a group hear of it in no other way."""
        retry = future.newest_retry
        if isinstance(retry, ScalerFuture):
            self._append(retry)

    def _replace_row(self, number: int, row: BoardRow) -> None:
        """Replace a row, if it differs.

        Parameters
        ----------
        number
            The number of the row.
        row
            The new row.
        """
        before = self._rows[number]
        if row != before:
            self._rows[number] = row
            self._counts[before.kind] -= 1
            self._counts[row.kind] += 1
            self._record_change(number)

    def _record_change(self, number: int) -> None:
        """Note that a row has changed."""
        self._changed_rows.add(number)
        self._version += 1

    def changed(self) -> list[int]:
        """Return the numbers of the rows that differ from what they were at the last call, in order."""
        with self._mutex:
            changed, self._changed_rows = self._changed_rows, set()
        return sorted(changed)

    def changed_nested(self) -> list[int]:
        """Return the numbers of the nested rows that differ from what they were at the last call, in order."""
        with self._mutex:
            return self.nested.changed()

    def close(self) -> None:
        """Watch no future any more."""
        with self._mutex:
            for reference in (*self._futures, *self._earlier_futures):
                future = reference()
                if future is not None:
                    future.unwatch(self._changed)
            self._new.clear()
            self._dirty.clear()

    # ------------------------------------------------------------------ what was taken in

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def rows(self, numbers: Iterable[int]) -> list[BoardRow]:
        """Return the rows of these numbers."""
        rows = self._rows
        return [rows[number] for number in numbers]

    def future(self, number: int) -> ScalerFuture[Any] | None:
        """Return the future of a row; None if nobody holds it any more."""
        return self._futures[number]()

    def counts(self) -> dict[Kind, int]:
        """Return the number of tasks of each kind, in the order of KINDS; kinds without tasks are left out."""
        return {kind: self._counts[i] for i, kind in enumerate(KINDS) if self._counts[i]}

    def kinds(self) -> dict[str, Kind]:
        """Return the kind of each task that a row shows, by the task's id."""
        with self._mutex:
            return {task_id: KINDS[row.kind] for task_id, row in zip(self._ids, self._rows, strict=True)}

    @property
    def version(self) -> int:
        """A number that grows with each change."""
        return self._version

    @property
    def settled(self) -> bool:
        """Whether all tasks have ended."""
        return sum(self._counts[kind] for kind in ENDED) == len(self._rows)

    def where(self, wanted: Callable[[BoardRow], bool]) -> list[int]:
        """Return the numbers of the rows for which ``wanted(row)`` is true."""
        with self._mutex:
            return [number for number, row in enumerate(self._rows) if wanted(row)]


class SessionTable(TaskTable):
    """Every future of this process that is alive, and every later one."""

    newest_first = True

    def __init__(self) -> None:
        super().__init__(())
        live_futures.subscribe(self)  # before the living are read: a future that comes in between would be lost
        self._new.extend(live_futures.living())
        self.take_in()

    def close(self) -> None:
        """Watch no future any more, and add no later ones."""
        live_futures.unsubscribe(self)
        super().close()
