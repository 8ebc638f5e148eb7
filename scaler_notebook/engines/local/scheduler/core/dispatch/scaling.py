"""Scaling: how many task processes there are, as the number of slots changes and as processes stay idle.

With an idle timeout a process that has had no task for that long goes. Nothing is noted when a task begins or ends: a
few times in each timeout it is looked which processes are idle and have run nothing since, so that one may stay for a
quarter longer than the timeout. Processes come back when a queued task has a slot and no process.
"""

from scaler_notebook.engines.local.scheduler.core.effects import Effects
from scaler_notebook.engines.local.scheduler.core.overview import Overview
from scaler_notebook.engines.local.scheduler.core.state.scheduler_state import SchedulerState, TimerKey
from scaler_notebook.engines.scheduling.timers import Clock

LOOKS = 4  # at idle processes, in each timeout
LONGEST_PAUSE = 24 * 3600.0  # seconds between two of them: a timer far beyond that is more than the system can wait for
LOOK_DUE: TimerKey = "idle", 0


class Scaling:
    """The number of task processes beside those for lent slots.

    Parameters
    ----------
    state
        The core's state; its number of slots is changed here.
    overview
        Knows how many tasks wait for a process.
    effects
        Sets the number of processes, and kills some.
    clock
        The source of the time.
    spares
        How many more processes than slots there are.
    idle_timeout
        Seconds after which an idle process goes; 0 for never.
    """

    def __init__(
        self,
        state: SchedulerState,
        overview: Overview,
        effects: Effects,
        clock: Clock,
        spares: int,
        idle_timeout: float,
    ) -> None:
        self._state = state
        self._overview = overview
        self._effects = effects
        self._clock = clock
        self._spares = spares
        self._is_shrinking = False  # are there more processes than wanted, which end with their tasks?
        self._idle_since: dict[int, tuple[int, float]] = {}  # by process: its number of runs, and monotonic seconds
        self.idle_timeout = idle_timeout
        self.gone = 0  # processes that have gone because they were idle

    def scale(self, slots: int) -> None:
        """Set how many tasks run at the same time. What runs goes on; processes that are too many end with their tasks.

        Processes that have gone because they were idle stay away.
        """
        self._is_shrinking = self._is_shrinking or slots < self._state.slots
        self._state.slots = slots
        self.gone = min(self.gone, self._full)
        self._resize()

    @property
    def _full(self) -> int:
        """How many processes there are when none has gone."""
        return self._state.slots + self._spares

    def _resize(self) -> None:
        """Have as many processes as there are to be."""
        self._effects.set_standing(self._full - self.gone)

    def settle(self) -> None:
        """Have processes come and go as they are needed; to be called when all tasks are dispatched that can be."""
        if self.gone and (missing := self._overview.short_of):
            self._bring_back(missing)
        if self._is_shrinking:
            self._end_surplus()
        if self.idle_timeout and self._state.workers.idle and LOOK_DUE not in self._state.timers:
            due = self._clock.monotonic() + min(self.idle_timeout / LOOKS, LONGEST_PAUSE)
            self._state.timers.set(LOOK_DUE, due, self._look_for_idle)

    def _bring_back(self, missing: int) -> None:
        """Have at least so many processes more than hold a task, and the spares."""
        running = len(self._state.workers.held) - len(self._state.lent)
        gone = max(0, self._full - (running + missing + self._spares))
        if gone < self.gone:
            self.gone = gone
            self._resize()

    def _end_surplus(self) -> None:
        """Kill the idle processes that are too many, the coldest first."""
        workers, surplus = self._state.workers, self._effects.surplus()
        self._is_shrinking = surplus > 0
        for process in workers.idle[:surplus]:
            workers.reserve(process)
            self._effects.kill(process)

    def _look_for_idle(self) -> None:
        """Kill the processes that have been idle for too long."""
        workers, now, before = self._state.workers, self._clock.monotonic(), self._idle_since
        since = {}
        for process in workers.idle:
            runs = workers.runs(process)
            known = before.get(process)
            since[process] = known if known is not None and known[0] == runs else (runs, now)
        over = [process for process, (_, began) in since.items() if now - began >= self.idle_timeout]
        self._idle_since = {process: noted for process, noted in since.items() if process not in over}
        if over:
            self.gone = min(self._full, self.gone + max(0, len(over) - self._effects.surplus()))
            self._resize()  # first: else others would take their places
        for process in over:
            workers.reserve(process)
            self._effects.kill(process)
