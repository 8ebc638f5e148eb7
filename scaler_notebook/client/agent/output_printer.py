"""Printing here what tasks write, as it comes, with the task's name in front: ``stream_output=True``."""

import contextlib
import sys
from collections.abc import Callable

from scaler_notebook.client.submission.call_text import shorten
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.client.waiting import callback_thread
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.protocol.messages import LogStream, TaskLog

WIDTH = 40  # characters of a task's name, in front of each line
LONGEST_LINE = 8192  # characters; what is longer is printed in pieces


class OutputPrinter:
    """A printer of whole lines, on a thread of its own: two tasks that write at once do not share a line.

    Parameters
    ----------
    wanted
        Whether there is anything to print; None: where nothing else shows what tasks write, which is in a script.
    """

    def __init__(self, wanted: bool | None) -> None:
        self._wanted = wanted
        self._printing: set[str] = set()  # ids of unfinished tasks that have written; on the agent's thread
        self._begun: dict[tuple[str, LogStream], str] = {}  # lines without an end; on the printing thread

    def add(self, task: ObservedTask, message: TaskLog) -> None:
        """Print what a task has written; on the agent's thread.

        Parameters
        ----------
        task
            The task.
        message
            The text.
        """
        if self._wanted or (self._wanted is None and current_host().prints_output):
            self._printing.add(task.task_id)
            _post(self._print, task.task_id, task.call, message.stream, message.text)

    def end(self, task: ObservedTask) -> None:
        """Print the last line of a task that has ended, if the line has no end; on the agent's thread."""
        if task.task_id in self._printing:
            self._printing.discard(task.task_id)
            for stream in LogStream:
                _post(self._end_line, task.task_id, task.call, stream)

    def _print(self, task_id: str, name: str, stream: LogStream, text: str) -> None:
        """Print the lines that a text ends, and keep the beginning of the next one."""
        *lines, rest = (self._begun.pop((task_id, stream), "") + text).split("\n")
        if len(rest) > LONGEST_LINE:
            lines.append(rest)
        elif rest:
            self._begun[task_id, stream] = rest
        _write(name, stream, lines)

    def _end_line(self, task_id: str, name: str, stream: LogStream) -> None:
        """Print a line that has no end."""
        if rest := self._begun.pop((task_id, stream), ""):
            _write(name, stream, [rest])


def _post(call: Callable[..., None], *args: object) -> None:
    """Call on the printing thread; where none can be started any more, here.

    Python 3.12.0 and 3.12.1 start no thread once the main thread has ended; from then on a script waits for its tasks.
    """
    try:
        callback_thread.output.post(call, *args)
    except RuntimeError:
        call(*args)


def _write(name: str, stream: LogStream, lines: list[str]) -> None:
    """Write lines with a name in front; of one that was written over itself, as a progress bar is, its last form."""
    front = shorten(name, WIDTH)
    text = "".join(f"{front} | {line.rstrip(chr(13)).rpartition(chr(13))[2]}\n" for line in lines)
    with contextlib.suppress(OSError, ValueError):  # closed: nobody reads it any more
        print(text, end="", file=sys.stdout if stream is LogStream.STDOUT else sys.stderr, flush=True)
