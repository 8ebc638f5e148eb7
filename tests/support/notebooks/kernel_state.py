"""What a kernel is when it has just started, and how it becomes that again. Runs in a kernel that tests share."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import sys
import time
from typing import Any

import comm
import leaks
from IPython import get_ipython  # type: ignore[attr-defined, unused-ignore]

from scaler_notebook.client import executor
from scaler_notebook.client.session.session import open_sessions
from scaler_notebook.client.session_log import live_futures
from scaler_notebook.client.task_state import cancel_policy
from scaler_notebook.notebook import settings_store
from scaler_notebook.notebook.views.publisher import publisher

EXTENSION = "scaler_notebook"
VIEWS = (
    "scaler_notebook.notebook.views.feed",
    "scaler_notebook.notebook.views.live_display",
    "scaler_notebook.notebook.views.card.display",
)  # imported with the first view


class KernelState:
    """Of the kernel that makes it; :meth:`restore` brings it back."""

    def __init__(self) -> None:
        self._shell = get_ipython()
        self._environment = dict(os.environ)
        self._directory = os.getcwd()
        self._path = list(sys.path)
        self._comms = set(comm.get_comm_manager().comms)
        self._patched: list[tuple[Any, str, Any]] = []
        self._watch = leaks.Watch(frozenset({"processes"}))  # those are seen from outside

    def patch(self, module: str, **values: object) -> None:
        """Set names of a module until the kernel is brought back."""
        owner = importlib.import_module(module)
        for name, value in values.items():
            self._patched.append((owner, name, getattr(owner, name)))
            setattr(owner, name, value)

    async def restore(self) -> dict[str, Any]:
        """End what the tests' code has begun, and forget what it has made; what is left all the same, by kind."""
        self._end_engines()
        await asyncio.sleep(0)  # what the ends have posted to the loop
        self._end_users_coroutines()
        self._close_views()
        self._undo()
        self._forget()
        left = self._watch.left()
        if futures := await self._held():
            left["futures"] = futures
        if comms := set(comm.get_comm_manager().comms) - self._comms:
            left["comms"] = comms
        gc.freeze()  # what is there now is there to stay: collecting the next test's garbage need not look at it
        return left

    def _end_engines(self) -> None:
        for each in open_sessions():
            each.close()
        for known in executor._executors:
            if (made := known()) is not None:
                made.shutdown()
        if EXTENSION in self._shell.extension_manager.loaded:
            self._shell.extension_manager.unload_extension(EXTENSION)

    def _end_users_coroutines(self) -> None:
        for task in asyncio.all_tasks():
            coroutine = task.get_coro()
            if getattr(getattr(coroutine, "cr_frame", None), "f_globals", None) is self._shell.user_global_ns:
                task.cancel()

    def _close_views(self) -> None:
        feeds, live_display, display = (sys.modules.get(name) for name in VIEWS)
        if feeds is not None:
            for each in [found for found in gc.get_objects() if isinstance(found, feeds.Feed)]:
                each.close()
        if display is not None:
            display._live.clear()
        if live_display is not None:
            live_display.last_words.clear()
        with publisher._changed:
            publisher._later.clear()
            publisher._due.clear()
            publisher._quiet_at.clear()
        if widgets := sys.modules.get("ipywidgets"):
            widgets.Widget.close_all()

    def _forget(self) -> None:
        """What holds the values of the tests' code."""
        for name in ("last_exc", "last_type", "last_value", "last_traceback"):
            if hasattr(sys, name):
                delattr(sys, name)
        self._shell.InteractiveTB.tb = None
        self._shell.last_execution_result = None
        self._shell.reset(new_session=False)
        gc.collect()

    async def _held(self) -> dict[str, list[type]]:
        """Futures that somebody holds, although what the loop and other threads had in hand has had time to end."""
        deadline = time.monotonic() + leaks.PATIENCE
        while (futures := live_futures.living()) and time.monotonic() < deadline:
            del futures
            await asyncio.sleep(0.01)
            gc.collect()
        return {repr(future): [type(holder) for holder in gc.get_referrers(future)] for future in futures}

    def _undo(self) -> None:
        while self._patched:
            owner, name, value = self._patched.pop()
            setattr(owner, name, value)
        for state, fresh in (
            (settings_store.settings, settings_store.Settings()),
            (cancel_policy.DEFAULTS, cancel_policy.CancelPolicy()),
        ):
            for name, value in vars(fresh).items():
                setattr(state, name, value)
        for name in os.environ.keys() - self._environment.keys():
            del os.environ[name]
        os.environ.update(self._environment)
        with contextlib.suppress(OSError):
            os.chdir(self._directory)
        sys.path[:] = self._path


state: KernelState  # of this kernel
