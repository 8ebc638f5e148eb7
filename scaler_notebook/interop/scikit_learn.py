"""A callback of scikit-learn 1.9: the card of a task that fits an estimator tells how far the fit is.

::

    search = GridSearchCV(LogisticRegression(), grid).set_callbacks(FitProgress())
    future = executor.submit(search.fit, X, y)

scikit-learn divides a fit into *fit tasks*: the folds of a search, the steps of a pipeline, the iterations of a solver.
It hands each one's *context* to the hooks of a callback, which is all that is used here, so that nothing is imported.
"""

import threading
from typing import Any

from scaler_notebook.task.current_task import current_task

Place = tuple[int, ...]  # of a fit task: its number, after those of what it is within


class FitProgress:
    """A callback that moves the card's bar with a fit, and ends the fit when its task is asked to stop.

    The bar counts the fit tasks of the estimator that the task fits: the folds of a search and its last fit, the steps
    of a pipeline, the iterations of a solver. What is within one of them moves the bar by a fraction. Outside of a task
    nothing is shown; a search whose folds are tasks of their own moves the bar of each.

    When the task is asked to stop, each hook that may end the iterations says so to scikit-learn. On threads of the
    task, which no interrupt reaches, it raises a KeyboardInterrupt.

    Parameters
    ----------
    max_propagation_depth
        How many levels of estimators within estimators take part; None for all. scikit-learn warns of each that takes
        no callbacks, such as a forest in a pipeline.
    """

    def __init__(self, max_propagation_depth: int | None = None) -> None:
        self.max_propagation_depth = max_propagation_depth  # scikit-learn reads it
        self._given_depth = max_propagation_depth
        self._mutex = threading.Lock()  # a search with threads calls from all of them
        self._place: Place | None = None  # of the outermost fit task in this process
        self._fit: FitStep | None = None  # that fit task

    def __reduce__(self) -> Any:
        return FitProgress, (self.max_propagation_depth,)  # in another process: the progress of what is fitted there

    def setup(self, estimator: Any, context: Any) -> None:
        """Prepare for the fit of the outermost estimator.

        Parameters
        ----------
        estimator
            That estimator.
        context
            scikit-learn's context of its fit.
        """
        inner = getattr(estimator, "estimator", estimator)
        # A search would warn in each fold of a model that takes no callbacks.
        self.max_propagation_depth = self._given_depth if hasattr(inner, "set_callbacks") else 0

    def teardown(self, estimator: Any, context: Any) -> None:
        """Forget the fit, however it ended."""
        with self._mutex:
            self._place = self._fit = None

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Note that a fit task begins.

        Parameters
        ----------
        estimator
            The estimator that is fitted.
        context
            scikit-learn's context of the fit task.
        """
        place = _place(context)
        with self._mutex:
            if self._place is None or self._fit is None:
                self._place, self._fit = place, FitStep(context)
            elif place == self._place:
                self._fit.expect(context)
            elif (outer := self._around(place)) is not None:
                outer.begin(place[-1], context)
            self._report(f"{context.estimator_name}: {context.task_name}")

    def on_fit_task_end(self, estimator: Any, context: Any) -> bool:
        """Note that a fit task has ended; return whether the task is asked to stop, so that iterations end here.

        Parameters
        ----------
        estimator
            The estimator that is fitted.
        context
            scikit-learn's context of the fit task.

        Raises
        ------
        KeyboardInterrupt
            The task is asked to stop, and this thread is not its main thread.
        """
        place = _place(context)
        with self._mutex:
            if place == self._place and self._fit is not None:
                self._fit.finish()
                self._report(f"{context.estimator_name}: {context.task_name}")
                self._place = self._fit = None
            elif (outer := self._around(place)) is not None:
                outer.end(place[-1])
                self._report(f"{context.estimator_name}: {context.task_name}")
        is_asked = current_task().cancelled()
        if is_asked and threading.current_thread() is not threading.main_thread():
            raise KeyboardInterrupt
        return is_asked

    def _around(self, place: Place) -> "FitStep | None":
        """Return the running fit task that a place is in; None if it is none of this fit's."""
        step, here = self._fit, self._place
        if here is None or place[: len(here)] != here:
            return None
        for number in place[len(here) : -1]:
            step = None if step is None else step.running.get(number)
        return step

    def _report(self, note: str) -> None:
        """Move the bar."""
        if self._fit is not None:
            current_task().report(*self._fit.counted(), note)


class FitStep:
    """A fit task that has begun and not ended, and how far it is.

    Parameters
    ----------
    context
        scikit-learn's context of the fit task.
    """

    def __init__(self, context: Any) -> None:
        self.running: dict[int, FitStep] = {}
        self.ended: float = 0
        self.expect(context)

    def expect(self, context: Any) -> None:
        """Take in how many parts there are: those of an estimator within a search are known when its own fit begins."""
        self.count: float | None = context.max_subtasks  # 0 if there are no parts, None if nobody knows
        self.is_of_inner_estimator = context.source_estimator_name is not None

    def begin(self, number: int, context: Any) -> None:
        """Note that a part begins; with the same number again, that it is the fit of an estimator within.

        Parameters
        ----------
        number
            The part's number.
        context
            scikit-learn's context of the part.
        """
        if number in self.running:
            self.running[number].expect(context)
        else:
            self.running[number] = FitStep(context)

    def end(self, number: int) -> None:
        """Note that a part has ended; the second time, where it was the fit of an estimator within, nothing."""
        part = self.running.pop(number, None)
        if part is None:
            return
        part.finish()
        done, total = part._counted_outside()
        self.ended += done
        if self.count is not None and total is not None:
            self.count += total - 1

    def finish(self) -> None:
        """Note that all of it has ended; iterations may have ended before the last one."""
        self.running.clear()
        self.ended = self.count = self.count or max(self.ended, 1)

    def counted(self) -> tuple[float, float | None]:
        """Return how many parts are done, and how many there are; what the estimator itself divides counts by parts."""
        done, total = self.ended, self.count
        for part in self.running.values():
            done_there, count = part._counted_outside()
            done += done_there
            total = None if total is None or count is None else total + count - 1
        return done, total

    def _counted_outside(self) -> tuple[float, float | None]:
        """Return what this part counts for in the one around it."""
        if self.is_of_inner_estimator or not self.count:
            return self._share(), 1
        return self.counted()

    def _share(self) -> float:
        """Return how much of it is done, from 0 to 1."""
        done, total = self.counted()
        return done / total if total else 0.0


def _place(context: Any) -> Place:
    """Return where a fit task is among all of its fit."""
    numbers = []
    while context is not None:
        numbers.append(context.task_id)
        context = context.parent
    return tuple(reversed(numbers))
