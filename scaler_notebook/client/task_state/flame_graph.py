"""The flame graph of a task that runs: where it spends its time, sampled from outside for some seconds."""

import base64
import html
import re
import threading
from pathlib import Path

from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.engines.local.client.watching.frames import CannotLook
from scaler_notebook.engines.local.client.watching.py_spy import Recording

from .observed_task import ObservedTask
from .stack import process_of

HEIGHT = 480  # pixels of the frame in a notebook at most; it scrolls
TITLE = re.compile(r'(<text id="title"[^>]*>)[^<]*')  # py-spy's command line, which nobody wants to read
SIZE = re.compile(r'<svg [^>]*height="(\d+)"')


class FlameGraph:
    """A flame graph: in a notebook it shows itself, and answers clicks (zoom) and searches.

    Parameters
    ----------
    call
        The call that was sampled, as a person reads it.
    svg
        The graph, an SVG with a script of its own.
    """

    def __init__(self, call: str, svg: str) -> None:
        self.call = call
        self.svg = TITLE.sub(lambda found: found[1] + html.escape(call), svg, count=1)

    def save(self, path: str) -> None:
        """Write the graph to a file, which browsers show."""
        Path(path).write_text(self.svg, encoding="utf-8")

    def __repr__(self) -> str:
        return f"<FlameGraph of {self.call}: save(path) writes an SVG>"

    def _repr_html_(self) -> str:
        # A document of its own: the script must not meet the page, and pages do not run scripts of outputs.
        found = SIZE.search(self.svg)
        height = min(HEIGHT, int(found[1])) if found else HEIGHT
        title = html.escape(f"flame graph of {self.call}")
        data = base64.b64encode(self.svg.encode()).decode()
        style = f"width:100%;height:{height}px;border:0;background:#fff"
        source = f"data:image/svg+xml;base64,{data}"
        return f'<iframe sandbox="allow-scripts" title="{title}" style="{style}" src="{source}"></iframe>'


def record(future: ObservedTask, seconds: int, rate: int) -> FlameGraph:
    """Sample a task for some seconds, or until it ends; the kernel lives meanwhile, as in any wait for a task.

    Parameters
    ----------
    future
        The task.
    seconds
        How long.
    rate
        How many samples are taken a second.

    Raises
    ------
    ValueError
        A number that is not positive, or no integer.
    RuntimeError
        The task does not run, or its process cannot be sampled.
    """
    for name, number in (("seconds", seconds), ("rate", rate)):
        if type(number) is not int or number < 1:
            raise ValueError(f"{name} is a positive integer, not {number!r:.60}")
    pid = process_of(future)
    ended = Signal()
    outcome: list[str | CannotLook] = []
    try:
        recording = Recording(pid, seconds, rate)
    except CannotLook as problem:
        raise RuntimeError(f"{future.call} cannot be profiled: {problem}") from None

    def wait() -> None:
        try:
            outcome.append(recording.wait())
        except CannotLook as problem:
            outcome.append(problem)
        finally:
            ended.set()

    thread = threading.Thread(target=wait, name="scaler_notebook profile", daemon=True)
    thread.start()
    try:
        current_host().wait(ended, None)  # the recording ends by itself; an interrupt ends it in the block below
    finally:
        recording.close()
        thread.join()
    (found,) = outcome
    if isinstance(found, CannotLook):
        process_of(future)  # raises if it has ended meanwhile, which is why then
        raise RuntimeError(f"{future.call} cannot be profiled: {found}")
    return FlameGraph(future.call, found)
