"""Devices (GPUs): how much of each is free, and which task processes have begun with which.

A process that has begun with a device serves no other, for what a library holds there (a context, its cache of memory)
cannot move. So a task gets an idle process that has begun with just its devices, or one that has run and imported
nothing yet. Where a task takes whole devices, idle processes that hold memory there end first.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from scaler_notebook.protocol.devices import WHOLE

from .records import TaskRecord
from .workers import Workers


class Placement(NamedTuple):
    """Where a task is to run.

    Parameters
    ----------
    process
        The number of an idle process; 0 if the task has to wait until another process takes the place of one.
    devices
        The devices that it gets, by their numbers.
    ending
        Idle processes that have to end first.
    """

    process: int
    devices: tuple[int, ...] = ()
    ending: tuple[int, ...] = ()


class Devices:
    """The devices of one scheduler.

    Parameters
    ----------
    names
        Their names.
    workers
        The task processes.
    lent
        Those whose tasks have lent what they had.
    """

    def __init__(self, names: tuple[str, ...], workers: Workers, lent: set[int]) -> None:
        self.names = names
        self._workers = workers
        self._lent = lent
        self._free = [WHOLE] * len(names)  # parts, by device

    def __bool__(self) -> bool:
        """Return whether there is any device."""
        return bool(self.names)

    def __repr__(self) -> str:
        return f"<Devices {dict(zip(self.names, self._free, strict=True))} {self._workers.devices}>"

    def named(self, numbers: Iterable[int]) -> tuple[str, ...]:
        """Return the names of devices."""
        return tuple(self.names[number] for number in numbers)

    # ------------------------------------------------------------------ what is free

    def take(self, record: TaskRecord) -> None:
        """Take what a task has."""
        self._change(record, -1)

    def give_back(self, record: TaskRecord) -> None:
        """Give back what a task had."""
        self._change(record, 1)

    def _change(self, record: TaskRecord, sign: int) -> None:
        """Change what is free of a task's devices.

        Parameters
        ----------
        record
            The task.
        sign
            1 to have more, -1 to have less.
        """
        share = min(WHOLE, record.task.options.gpus)
        for number in record.devices:
            self._free[number] += sign * share

    def suffice(self, parts: int) -> bool:
        """Return whether so many parts are free: of one device, or of whole ones."""
        return len(self._candidates(parts)) >= _count(parts)

    def _candidates(self, parts: int) -> list[int]:
        """Return the devices of which enough is free, and on which no process is dying, which still has its memory."""
        workers, share = self._workers, min(WHOLE, parts)
        staying = {*workers.idle, *workers.held}
        blocked = {number for process, begun in workers.devices.items() if process not in staying for number in begun}
        return [number for number, free in enumerate(self._free) if free >= share and number not in blocked]

    # ------------------------------------------------------------------ which process

    def place(self, record: TaskRecord, suits: Callable[[int], bool]) -> Placement:
        """Return where a task is to run whose needs are free. There is an idle process.

        Parameters
        ----------
        record
            The task.
        suits
            Whether a process suits the task in all other respects.
        """
        parts, workers = record.task.options.gpus, self._workers
        if not parts:
            process = next(
                (each for each in reversed(workers.idle) if not workers.devices.get(each) and suits(each)), 0
            )
            return Placement(process, (), () if process else self._one_to_replace())
        if parts < WHOLE:
            process, devices = self._share_one(parts, suits)
        else:
            process, devices = self._have_whole(parts, suits)
        ending = self._holding_memory(devices, process) if parts >= WHOLE else ()
        if not process and not ending:
            ending = self._one_to_replace()
        return Placement(process, devices, ending)

    def _share_one(self, parts: int, suits: Callable[[int], bool]) -> tuple[int, tuple[int, ...]]:
        """Find a process for a task that takes a part of a device: on the fullest one, so that others stay whole."""
        by_fullness = sorted(self._candidates(parts), key=lambda number: self._free[number])
        for number in by_fullness:
            if process := self._begun_with((number,), suits):
                return process, (number,)
        return self._untouched(suits), (by_fullness[0],)

    def _have_whole(self, parts: int, suits: Callable[[int], bool]) -> tuple[int, tuple[int, ...]]:
        """Find a process for a task that takes whole devices: on those where it runs at once, if there are such."""
        candidates, count = self._candidates(parts), _count(parts)
        for process in reversed(self._workers.idle):
            begun = self._workers.devices.get(process, ())
            if len(begun) == count and set(begun) <= set(candidates) and suits(process):
                return process, begun
        idle = [self._workers.devices.get(process, ()) for process in self._workers.idle]
        quiet = sorted(candidates, key=lambda number: sum(number in begun for begun in idle))
        return self._untouched(suits), tuple(sorted(quiet[:count]))

    def _begun_with(self, devices: tuple[int, ...], suits: Callable[[int], bool]) -> int:
        """Return an idle process that has begun with these devices; 0 if there is none."""
        idle = reversed(self._workers.idle)
        return next((each for each in idle if self._workers.devices.get(each) == devices and suits(each)), 0)

    def _untouched(self, suits: Callable[[int], bool]) -> int:
        """Return an idle process that has run nothing and imported nothing; 0 if there is none."""
        return next((each for each in self._workers.untouched if suits(each)), 0)

    def _holding_memory(self, devices: tuple[int, ...], process: int) -> tuple[int, ...]:
        """Return the idle processes that have begun with one of these devices, other than ``process``."""
        workers, wanted = self._workers, set(devices)
        return tuple(each for each in workers.idle if each != process and wanted & {*workers.devices.get(each, ())})

    def _one_to_replace(self) -> tuple[int, ...]:
        """Return the idle process that a new one is to replace: the coldest without devices, or else the coldest.

        There is none while some process is neither idle nor held by a task, for such a one is being replaced already.
        """
        workers = self._workers
        if any(process not in workers.held and process not in workers.idle for process in workers):
            return ()  # its successor comes
        without = [each for each in workers.idle if not workers.devices.get(each)]
        return ((without or workers.idle)[0],)

    def holding_memory(self) -> tuple[int, ...]:
        """Return the idle processes that hold memory on devices which running tasks have as a whole."""
        running = (r for p, r in self._workers.held.items() if p not in self._lent and r.task.options.gpus >= WHOLE)
        whole = {number for record in running for number in record.devices}
        return self._holding_memory(tuple(whole), 0) if whole else ()


def _count(parts: int) -> int:
    """Return of how many devices a task takes something."""
    return max(1, parts // WHOLE)
