"""Restoring of a process's settings after a task, so that the next task does not meet its changes.

A process has one :class:`ProcessState`. It reads the settings when it is made, and after each task restores those that
differ. Changes by an import stay, whichever task imports first, because the next one does not import again. Changes by
a client's initializer stay for the tasks of that client.
"""

import contextlib
import importlib
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from threading import get_ident
from typing import Any

from scaler_notebook.protocol.settings import ENVIRONMENT, FILTERS, MODULE_VALUES, decode_filters
from scaler_notebook.task.modules.notebook_values import NotebookValues

from . import process_settings
from .expressions import compiled
from .internals import internals
from .module_settings import OF_MODULES
from .noted_calls import random_seeds
from .patching import patches
from .registrations import registrations
from .setting import Setting
from .system_settings import system

_bootstrap: Any = importlib.import_module("importlib._bootstrap")
_current: "ProcessState | None" = None


class ProcessState:
    """The settings of this process, and the values that they shall have between two tasks.

    Parameters
    ----------
    more
        Settings that only this kind of process has.
    accept
        Called with True and then with False, before and after something that may change the process for good.
    """

    def __init__(self, more: Iterable[Setting] = (), accept: Callable[[bool], object] = bool) -> None:
        global _current
        self._accept = accept
        self._settings = [*system(), *process_settings.ALWAYS, *internals(), random_seeds(), *registrations(), *more]
        self._reads: list[Callable[[], Any]] = []
        self._look: Callable[[], list[Any]] | None = None  # reads all for a comparison; None until that is needed
        self._settled: list[Any] = []  # by setting: the value when the setting was first read
        self._wanted: list[Any] = []  # by setting: the value to restore
        self._imported: list[list[tuple[Any, Any]]] = []  # by setting: its values before and after an import
        self._initialized: dict[str, dict[int, tuple[Any, Any]]] = {}  # the same for initializers, by client
        self._client = ""
        self._values = NotebookValues()
        self._given: dict[str, Any] = {}
        self._unknown: set[str] = set()  # modules of the client's warning filters that are not imported here
        self._not_imported = set(OF_MODULES)  # modules that are not imported yet
        self._is_recording = False
        self._before: list[Any] = []
        self._before_initializer: list[Any] = []
        for setting in self._settings:
            self._begin(setting)
        self._look_for_modules()
        _current = self
        self._watch_imports()

    def _begin(self, setting: Setting) -> None:
        value = setting.read()
        self._reads.append(setting.read)
        self._look = None
        self._settled.append(value)
        self._wanted.append(value)
        self._imported.append([])

    def _look_for_modules(self) -> None:
        """Add the settings of modules that have been imported, and give them the client's values."""
        for name in [name for name in self._not_imported if name in sys.modules]:
            self._not_imported.discard(name)
            with suppress(Exception):  # an unknown version of the module
                for setting in OF_MODULES[name](sys.modules[name]):
                    self._begin(setting)
                    self._settings.append(setting)
                    self._apply_wanted(len(self._reads) - 1)

    def _apply_wanted(self, index: int) -> None:
        """Write the value that a setting shall have now."""
        wanted = self._wanted_value(index)
        if wanted != self._settings[index].read():
            self._settings[index].write(wanted)
        self._wanted[index] = wanted

    # ------------------------------------------------------------------ between tasks

    def restore(self) -> bool:
        """Restore the settings that differ.

        Returns
        -------
        bool
            False if that cannot be done for all settings: no other task may run in this process.
        """
        patches.report_stores()
        try:
            if self._is_unchanged():
                return True
            failed = [index for index in range(len(self._reads)) if not self._restore_one(index)]
            return not failed
        finally:
            patches.undo()
            if self._values:
                self._values.apply()

    def _is_unchanged(self) -> bool:
        if self._look is None:
            self._look = compiled([setting.look or setting.read for setting in self._settings])
        try:
            return self._look() == self._wanted
        except Exception:  # the task may have replaced anything by anything
            return False

    def _restore_one(self, index: int) -> bool:
        try:
            if self._reads[index]() != self._wanted[index]:
                self._settings[index].write(self._wanted[index])
        except Exception:
            return False
        return True

    def adopt_current(self) -> None:
        """Restore the current values from now on: somebody else who shares the process may have changed some."""
        self._look_for_modules()
        if len(values := self._read()) == len(self._wanted):
            self._wanted = values

    def switch_client(self, client: str, given: Mapping[str, Any]) -> None:
        """Prepare for a task of a client.

        Parameters
        ----------
        client
            The client, whose initializer's changes hold from now on; empty for one without an initializer.
        given
            The client's values by the names of settings, or, for mappings, the items that differ; bytes are a pickle.
        """
        self._client, self._given, self._unknown = client, dict(given), set()
        self._values.adopt(client, self._given.pop(MODULE_VALUES, {}))
        self._look_for_modules()
        for index in range(len(self._settings)):
            self._wanted[index] = self._wanted_value(index)
        self.restore()

    def _wanted_value(self, index: int) -> Any:
        """Return the value that a setting shall have, from the process, the client, imports and the initializer."""
        setting, settled = self._settings[index], self._settled[index]
        given = self._given_value(setting.name)
        if given is None or setting.name == ENVIRONMENT:
            value = settled
        else:
            value = {**settled, **given} if isinstance(settled, dict) else given
        for change in self._imported[index]:
            value = setting.merge(value, *change)
        if given is not None and setting.name == ENVIRONMENT:  # the client has the user's own variables
            value = {**{name: value[name] for name in value.keys() - settled.keys()}, **given}
        if (own := self._initialized.get(self._client, {}).get(index)) is not None:
            value = setting.merge(value, *own)
        return value

    def _given_value(self, name: str) -> Any:
        value = self._given.get(name)
        if isinstance(value, bytes):  # pickled, because its module may be needed
            self._given[name] = value = _loaded(value)
        if name == FILTERS and value is not None:
            value, self._unknown = decode_filters(value)
        return value

    # ------------------------------------------------------------------ what stays

    def record_initializer(self, begins: bool) -> None:
        """Record what the client's initializer changes, which stays for the client's tasks.

        Parameters
        ----------
        begins
            True when the initializer begins, False when it has ended.
        """
        if begins:
            self._accept(True)
            self._before_initializer = self._read()
            return
        self._accept(False)
        self._values.yield_to_initializer()
        changes = self._initialized.setdefault(self._client, {})
        before = self._before_initializer
        for index, *change in self._changes([*before, *self._settled[len(before) :]]):
            changes[index] = change[0], change[1]
            self._wanted[index] = self._settings[index].merge(self._wanted[index], *change)

    def record_lasting(self, begins: bool) -> None:
        """Record changes that stay, such as those of an import, because they happen once.

        Parameters
        ----------
        begins
            True when recording begins, False when it ends.
        """
        if begins:
            self._is_recording = True
            self._accept(True)
            patches.accept(True)
            self._before = self._read()
            return
        try:
            self._accept(False)
            for index, before, after in self._changes(self._before):
                self._imported[index].append((before, after))
                setting, former = self._settings[index], self._wanted[index]
                self._wanted[index] = wanted = setting.merge(former, before, after)
                if before == former and after != wanted:  # the task itself has not changed it
                    setting.write(wanted)
            if any(name in sys.modules for name in self._unknown):
                self._apply_wanted(next(index for index, each in enumerate(self._settings) if each.name == FILTERS))
            self._look_for_modules()
            self._values.apply()
            patches.accept(False)
        finally:
            self._is_recording = False

    def _read(self) -> list[Any]:
        with suppress(Exception):  # as in restore
            return [read() for read in self._reads]
        return []

    def _changes(self, before: list[Any]) -> Iterator[tuple[int, Any, Any]]:
        now = self._read()
        if before == now:  # quick, because a list does not compare identical items
            return
        for index, (value, later) in enumerate(zip(before, now, strict=False)):
            if value is not later and value != later:
                yield index, value, later

    def _watch_imports(self) -> None:
        """Wrap the function that the import system calls for a module that is not in ``sys.modules``."""
        find_and_load = _bootstrap._find_and_load
        main_thread = get_ident()

        def _find_and_load(name: str, import_: Any) -> Any:
            if self._is_recording or get_ident() != main_thread:  # settings are recorded on the main thread alone
                return find_and_load(name, import_)
            self.record_lasting(True)
            try:
                return find_and_load(name, import_)
            finally:
                self.record_lasting(False)

        # The file name is the import system's own, so that this frame too is left out of tracebacks.
        _find_and_load.__code__ = _find_and_load.__code__.replace(co_filename=find_and_load.__code__.co_filename)
        _bootstrap._find_and_load = _find_and_load


@contextlib.contextmanager
def lasting_changes() -> Iterator[None]:
    """Let changes of this process's settings stay, within ``with``: for what is done once, while some task runs."""
    state = _current
    if state is None or state._is_recording:
        yield
        return
    state.record_lasting(True)
    try:
        yield
    finally:
        state.record_lasting(False)


def _loaded(pickled: bytes) -> Any:
    try:
        return pickle.loads(pickled)
    except Exception:  # made of something that this process lacks
        return None
