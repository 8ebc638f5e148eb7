"""Progress from inside a task: ``for x in progress(items)``; tqdm's bars and joblib's calls report in the same way."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from .current_task import CurrentTask, current_task
from .modules.import_hooks import after_import

T = TypeVar("T")

SLOW = 0.005  # seconds; the end of a step that takes longer is always reported, because the next may take minutes
INTERVAL = 0.02  # seconds between two reports of one loop


class progress(Generic[T]):  # used like a function, as tqdm is
    """Iterate, and show the progress in the task's card.

    ::

        for batch in progress(batches, note="training"):
            model.step(batch)

    For work that is not a loop: ``bar = progress(total=100); bar.update(3)``. Outside of a task nothing is shown.

    Parameters
    ----------
    iterable
        The items.
    total
        How many steps there are; by default the iterable's length, if it has one.
    note
        A few words beside the bar; may be set while the loop runs.
    """

    def __init__(self, iterable: Iterable[T] | None = None, total: float | None = None, note: str = "") -> None:
        self._iterable = iterable
        if total is None and hasattr(iterable, "__len__"):
            total = len(iterable)  # type: ignore[arg-type]
        self.total = total
        self.note = note
        self.done: float = 0
        self._next = self._updated = 0.0

    def __iter__(self) -> Iterator[T]:
        if self._iterable is None:
            raise TypeError("this progress was given nothing to iterate over; use update()")
        self.update(0)
        try:
            for item in self._iterable:
                yield item
                self.update()
        finally:
            self._report()

    def update(self, steps: float = 1) -> None:
        """Advance by a number of steps."""
        self.done += steps
        now = time.monotonic()
        slow, self._updated = now - self._updated >= SLOW, now
        if slow or now >= self._next or self.done == self.total:
            self._next = now + INTERVAL
            self._report()

    def _report(self) -> None:
        current_task().report(self.done, self.total, self.note)


def watch_for_bars() -> None:
    """Let tqdm's outermost bar and joblib's outermost ``Parallel`` move the card's bar, in this task process."""
    after_import("tqdm.std", lambda module: _redirect(module.tqdm))
    after_import("tqdm.notebook", _replace_widgets)
    after_import("joblib.parallel", lambda module: _follow(module.Parallel))


def _redirect(tqdm: Any) -> None:
    """Replace the methods of tqdm that print a bar."""
    display, close = tqdm.display, tqdm.close

    def shows_here(bar: Any) -> bool:
        """Return whether a bar would be printed to the task's output; a bar with a file of its own is left alone."""
        return bool(current_task().task_id) and getattr(bar.fp, "_wrapped", bar.fp) in (sys.stdout, sys.stderr)

    def display_here(bar: Any, msg: str | None = None, pos: int | None = None) -> Any:
        if isinstance(bar.fp, _Nowhere):
            return True
        if not shows_here(bar):
            return display(bar, msg, pos)
        if msg is None and not (pos if pos is not None else bar.pos):
            scale = bar.unit_scale or 1  # True, or the size of a step in units
            done, total, rate = (value and value * scale for value in (bar.n, bar.total, bar.format_dict["rate"]))
            note = " · ".join(filter(None, [(bar.desc or "").removesuffix(": "), str(bar.postfix or "")]))
            current_task().report(done, total, note, rate=rate, unit=bar.unit)
        return True

    def close_here(bar: Any) -> None:
        if not bar.disable and shows_here(bar):
            bar._ema_dt = lambda: None  # as tqdm's own close: the last rate is the mean
            bar.refresh()
            bar.fp = _Nowhere()
        close(bar)

    tqdm.display, tqdm.close = display_here, close_here


def _replace_widgets(module: Any) -> None:
    """Replace the bars of :mod:`tqdm.notebook`: their widgets would be a task process's, and reach no notebook."""
    plain: Any = module.std_tqdm

    class tqdm_notebook(plain):  # type: ignore[misc]  # of no known type; its own name, by which it is pickled
        """A bar as :mod:`tqdm.notebook` has it, which moves the card's bar."""

        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("display", None)
            if isinstance(options.get("ncols"), str):  # a width in CSS
                del options["ncols"]
            super().__init__(*args, **options)

        def display(self, msg: str | None = None, pos: int | None = None, **_: Any) -> Any:
            return super().display(msg, pos)

    tqdm_notebook.__module__, tqdm_notebook.__qualname__ = module.__name__, "tqdm_notebook"
    module.tqdm = module.tqdm_notebook = tqdm_notebook


class _Nowhere:
    """A file that discards what is written."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


def _follow(parallel_class: Any) -> None:
    """Let a call of joblib's ``Parallel`` move the card's bar whenever a batch of it has ended, and print as before.

    What the task's own code reports goes before. scikit-learn fits folds, trees and classes in such calls. How many
    there will be is known to joblib once it has handed out the last one, or at once where it is given a list.
    """
    print_progress = parallel_class.print_progress
    followed: dict[Any, CurrentTask] = {}  # the outermost call, with its task: batches end on threads that are older

    def following(outputs: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """Return a method that does as one of the two by which joblib yields results, and follows that call."""

        def outputs_here(parallel: Any, *arguments: Any) -> Iterator[Any]:
            task = current_task()
            if not task.task_id or task in list(followed.values()):
                yield from outputs(parallel, *arguments)
                return
            followed[parallel] = task
            try:
                yield from outputs(parallel, *arguments)
            finally:
                del followed[parallel]
            # joblib goes on as soon as all are counted: before the last one is told, perhaps.
            task.suggest(parallel.n_completed_tasks, parallel.n_dispatched_tasks)

        return outputs_here

    def print_progress_here(parallel: Any) -> None:
        task = followed.get(parallel)
        if task is not None:
            all_are_known = parallel._original_iterator is None
            total = parallel.n_dispatched_tasks if all_are_known else getattr(parallel, "n_tasks", None)
            task.suggest(parallel.n_completed_tasks, total)
        print_progress(parallel)

    parallel_class.print_progress = print_progress_here
    parallel_class._get_outputs = following(parallel_class._get_outputs)
    parallel_class._get_sequential_output = following(parallel_class._get_sequential_output)
