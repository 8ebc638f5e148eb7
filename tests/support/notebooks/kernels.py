"""A real kernel, driven as a front end drives it."""

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

PATIENCE = 30.0  # seconds; a kernel takes two to start on a busy machine


@dataclass
class Executed:
    """What a cell left."""

    text: str = ""
    error: str = ""
    traceback: list[str] = field(default_factory=list)
    displays: list[dict[str, Any]] = field(default_factory=list)
    number: int = 0  # as in In[3]


class Kernel:
    """One kernel and one client of it."""

    def __init__(
        self, name: str = "python3", specs: KernelSpecManager | None = None, arguments: list[str] | None = None
    ) -> None:
        self.manager = KernelManager(kernel_name=name)
        if specs is not None:
            self.manager.kernel_spec_manager = specs
        self.manager.start_kernel(extra_arguments=arguments or [])
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)
        self._log: list[dict[str, Any]] = []
        self._found = 0

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=False)
        self.manager.cleanup_resources()

    def submit(self, code: str, silent: bool = False, in_lab: bool = False) -> str:
        """Send a cell, or what counts as none (``silent``); gives the id of its request.

        It is a cell of its own: of JupyterLab (``in_lab``), or of a front end that makes a widget's model for an output
        that has it, and not before.
        """
        content = {"code": code, "silent": silent, "store_history": not silent, "user_expressions": {}}
        content |= {"allow_stdin": True, "stop_on_error": True}
        metadata = {"cellId": uuid.uuid4().hex, **({"deletedCells": []} if in_lab else {})}
        message = self.client.session.msg("execute_request", content, metadata=metadata)
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def finish(self, request: str, timeout: float = PATIENCE) -> Executed:
        """Wait until a cell has run."""
        executed = Executed()
        for message in self._messages(0, timeout):
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "execute_input":
                executed.number = content["execution_count"]
            elif kind == "stream":
                executed.text += content["text"]
            elif kind == "error":
                executed.error, executed.traceback = f"{content['ename']}: {content['evalue']}", content["traceback"]
            elif kind in ("execute_result", "display_data"):
                executed.displays.append(content["data"])
                executed.text += content["data"].get("text/plain", "")
            elif kind == "status" and content["execution_state"] == "idle":
                break
        return executed

    def run(self, code: str, timeout: float = PATIENCE, silent: bool = False) -> Executed:
        """Run a cell to its end."""
        return self.finish(self.submit(code, silent), timeout)

    def forget(self) -> None:
        """Leave all messages until now to the past: nothing here finds them any more."""
        self._log.clear()
        self._found = 0

    def until(self, wanted: Callable[[dict[str, Any]], bool], timeout: float = PATIENCE) -> dict[str, Any]:
        """The first message since the last one found here for which ``wanted(message)`` is true."""
        for message in self._messages(self._found, timeout):
            self._found += 1
            if wanted(message):
                return message
        raise AssertionError("unreachable: the messages end with a TimeoutError")

    def until_waiting(self) -> None:
        """Wait until the cell that runs sits in a wait of ours: a busy kernel answers there alone."""
        request = self.client.kernel_info()
        while self.client.get_shell_msg(timeout=PATIENCE)["parent_header"]["msg_id"] != request:
            pass

    def _messages(self, start: int, timeout: float) -> Iterator[dict[str, Any]]:
        """What the kernel broadcast from the ``start``-th message on, and what it will; raises after ``timeout`` s."""
        deadline = time.monotonic() + timeout
        while True:
            while start < len(self._log):
                yield self._log[start]
                start += 1
            try:
                self._log.append(self.client.get_iopub_msg(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                last = [(m["msg_type"], f"{m['content']!r:.300}") for m in self._log[-5:]]
                raise TimeoutError(f"the kernel says nothing more; its last messages: {last}") from None

    def send_comm(self, comm_id: str, content: dict[str, Any]) -> None:
        """What the browser sends when a widget's front end calls ``model.send(content)``."""
        data = {"method": "custom", "content": content}
        message = self.client.session.msg("comm_msg", {"comm_id": comm_id, "data": data})
        self.client.shell_channel.send(message)


@contextlib.contextmanager
def kernel(
    name: str = "python3", specs: KernelSpecManager | None = None, arguments: list[str] | None = None
) -> Iterator[Kernel]:
    """A kernel that ends with the block."""
    started = Kernel(name, specs, arguments)
    try:
        yield started
    finally:
        started.close()


def run_notebook(kernel: Kernel, cells: list[str]) -> Any:
    """Run a notebook as who has no browser does, who takes only what is sent while a cell runs."""
    import nbclient
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    manager = kernel.manager
    before = manager.client_class
    manager.session.session = uuid.uuid4().hex  # a kernel would take a second client of one session for the first
    manager.client_class = "jupyter_client.asynchronous.AsyncKernelClient"
    try:
        runner: Any = nbclient.NotebookClient(notebook, km=manager, timeout=60)
        runner.execute()
        runner.kc.stop_channels()
    finally:
        manager.client_class = before
    return notebook


def card_id(executed: Executed) -> str:
    """The comm of the card that a cell displayed."""
    for bundle in executed.displays:
        view = bundle.get("application/vnd.jupyter.widget-view+json")
        if view:
            return str(view["model_id"])
    raise AssertionError(f"no card in {executed}")
