"""Printing here what tasks write, as it comes: ``Client(stream_output=True)``."""

import sys
from functools import partial

from scaler_notebook.protocol.messages import LogStream

from .task_state.observed_task import ObservedTask
from .task_state.output import Text
from .waiting import callback_thread


class OutputPrinter:
    """A watcher that prints what a task writes, on the callback thread."""

    def __init__(self) -> None:
        self._printed = 0

    def __call__(self, future: ObservedTask) -> None:
        """Print what is new of a task's output; called after each change."""
        texts = future.texts(self._printed)
        if texts:
            self._printed += len(texts)
            callback_thread.post(partial(_print, texts))


def _print(texts: list[Text]) -> None:
    for stream, text in texts:
        print(text, end="", file=sys.stdout if stream is LogStream.STDOUT else sys.stderr, flush=True)
