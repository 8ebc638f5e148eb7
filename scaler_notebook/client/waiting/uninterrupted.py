"""Calls on a thread of their own, where no interrupt of the caller reaches them."""

import threading
from collections import deque
from collections.abc import Callable

from .signal import Signal


class UninterruptedCall:
    """A call that an interrupt of its caller does not divide: the interrupt ends the wait, and the call goes on.

    Ctrl-C between two steps of the start of a process would leave a process, a descriptor or a directory that nobody
    knows of.

    Parameters
    ----------
    call
        The call.
    name
        The name of the thread.
    """

    def __init__(self, call: Callable[[], object], name: str) -> None:
        self._call = deque([call])  # whoever pops the call decides whether it is made
        self._name = name
        self._error: BaseException | None = None
        self._is_over = Signal()
        self._followers: deque[Callable[[], object]] = deque()

    def wait(self) -> None:
        """Begin the call and wait for its end. Called once; raises what the call raises."""
        try:
            threading.Thread(target=self._run, name=self._name).start()
            self._is_over.block(None)
            if self._error is not None:
                raise self._error
        finally:
            self._error = None  # an error's traceback would keep this object alive, and the other way round

    def join(self) -> None:
        """Wait for the end of the call; a call that has not begun is not made."""
        self._forestall()
        self._is_over.block(None)

    def when_over(self, follower: Callable[[], object]) -> None:
        """Call ``follower`` after the call, now or on the call's thread; a call that has not begun is not made."""
        self._followers.append(follower)
        self._forestall()
        if self._is_over.is_set():
            self._call_followers()

    def _forestall(self) -> None:
        """End a call that has not begun."""
        if self._call:
            try:
                self._call.pop()
            except IndexError:  # begun meanwhile
                return
            self._is_over.set()

    def _run(self) -> None:
        try:
            call = self._call.pop()
        except IndexError:  # forestalled
            return
        try:
            call()
        except BaseException as error:
            self._error = error
        self._is_over.set()
        self._call_followers()

    def _call_followers(self) -> None:
        """Call what waits for the end of the call, each exactly once whoever comes first."""
        while self._followers:
            try:
                follower = self._followers.popleft()
            except IndexError:  # the other thread was faster
                return
            follower()
