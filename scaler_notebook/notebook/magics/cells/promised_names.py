"""The names that ``%%scaler --out`` cells will put into the notebook, for cells that read them before.

With ``%scaler config wait_for_names=on`` a cell that reads such a name waits for it first, so that *Run all* gives what
running cell by cell gives. Otherwise its NameError is followed by a line that says which task will bring the name.
"""

import ast
import sys
from collections.abc import Iterable
from typing import Any

from scaler_notebook.client.futures.completion import wait
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.notebook.settings_store import settings

from .names import analyse_names


class PromisedNames:
    """The names that tasks will put into the notebook, or would have put there if they had not failed."""

    def __init__(self) -> None:
        self._futures: dict[str, ScalerFuture[Any]] = {}  # by name, the last cell that promised the name, until its end
        self._broken: dict[str, str] = {}  # by name, why it did not come
        self._shell: Any = None

    def promise(self, shell: Any, names: Iterable[str], future: ScalerFuture[Any]) -> None:
        """Note that a cell will put names into the notebook.

        Parameters
        ----------
        shell
            The notebook's ``InteractiveShell``.
        names
            The names.
        future
            The future of the cell.
        """
        if self._shell is not shell:
            self._shell = shell
            shell.ast_transformers.append(_Waiting(self))
            shell.events.register("post_run_cell", self._explain)
        for name in names:
            self._futures[name] = future
            self._broken.pop(name, None)

    def settle(self, future: ScalerFuture[Any]) -> None:
        """Note that a cell has ended, and has put its names into the notebook unless it failed or was cancelled."""
        failed = future.cancelled() or future.exception(0) is not None
        for name in [name for name, promised in self._futures.items() if promised is future]:
            if failed:
                self._broken[name] = self.words(name)
            del self._futures[name]

    def awaited(self, names: Iterable[str]) -> list[str]:
        """Return those of these names that a cell is to wait for: none, unless ``wait_for_names`` is on."""
        if not settings.wait_for_names:
            return []
        return [name for name in names if name in self._futures]  # also where the task has ended, and its names come

    def wait_for(self, *names: str) -> None:
        """Wait until the tasks have ended that will bring these names; the stop button ends the wait."""
        __tracebackhide__ = True
        awaited = self.awaited(names)
        wait({self._futures[name] for name in awaited})
        for name in awaited:
            if name in self._broken and name in self._shell.user_ns:
                print(f"{self.words(name)}; {name} is as it was before", file=sys.stderr)

    def words(self, name: str) -> str:
        """Return what a person is told about a promised name; empty if no task promises the name."""
        future = self._futures.get(name)
        if future is None:
            return self._broken.get(name, "")
        task = f"task {future.task_id} ({future.call})"
        if not future.done():
            return (
                f"{name} will come from {task}, which is {future.state.value}: run this cell again later, "
                "or let cells wait for such names (%scaler config wait_for_names=on)"
            )
        if not future.cancelled() and future.exception(0) is None:
            return f"{name} comes from {task}, which has just ended: run this cell again"
        how = "was cancelled" if future.cancelled() else "failed"
        return f"{name} was to come from {task}, which {how}"

    def _explain(self, result: Any) -> None:
        """Say after a NameError which task was to bring the name."""
        error = result.error_in_exec
        if isinstance(error, NameError) and (words := self.words(str(getattr(error, "name", "")))):
            print(words, file=sys.stderr)


class _Waiting(ast.NodeTransformer):
    """Has a cell wait, before its first line, for the promised names that the cell reads.

    Parameters
    ----------
    promised
        The names.
    """

    def __init__(self, promised: PromisedNames) -> None:
        self._promised = promised

    def visit(self, node: ast.AST) -> Any:
        """Add the wait to a cell, if the cell reads such a name."""
        if not isinstance(node, ast.Module) or not node.body or not settings.wait_for_names:
            return node
        found = analyse_names(node)
        if names := self._promised.awaited([*found.reads, *found.mentions]):
            call = f"__import__({__name__!r}, fromlist=['']).PROMISED.wait_for({', '.join(map(repr, names))})"
            (first,) = ast.parse(call).body
            for part in ast.walk(first):
                ast.copy_location(part, node.body[0])
            node.body.insert(0, first)
        return node


PROMISED = PromisedNames()
