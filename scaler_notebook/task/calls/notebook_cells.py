"""Cells of a notebook's file as one task: in their order, with names of their own, in the notebook's directory."""

import ast
import builtins
import linecache
import os
import sys
from collections.abc import Sequence
from typing import Any

from scaler_notebook.protocol.encoding.json_forms import value_form

from .by_name import project_as_it_is
from .cell import VALUE, compile_cell, is_quiet
from .coroutines import completed

MAGIC = "%%scaler"  # asks for a task, and this is one: the rest of such a cell is run


def run_cells(path: str, cells: Sequence[tuple[int, str]], limit: int | None) -> dict[str, Any]:
    """Run cells; return the value of the last one's last expression in the form of :func:`.value_form`.

    Parameters
    ----------
    path
        The notebook's file.
    cells
        Each cell's index in the file, and its source.
    limit
        As for :func:`.value_form`.

    Raises
    ------
    ImportError
        IPython is not installed.
    BaseException
        What a cell raises; those that follow are not run then.
    """
    from scaler_notebook.task.display import displays  # in the task process alone

    directory = os.path.dirname(path)
    namespace: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
    shell = displays.task_shell()
    if displays.is_tasks_own(shell):
        shell.user_ns = namespace
    with project_as_it_is(directory), shell.builtin_trap:  # from the project's directory, before that changes
        os.chdir(directory)
        sys.path.insert(0, directory)
        for index, source in cells:
            namespace.pop(VALUE, None)
            completed(eval(_compiled(shell, path, index, source), namespace))  # a coroutine, if the cell awaits
    return value_form(namespace.get(VALUE), limit)


def show_source(path: str, index: int, source: str) -> str:
    """Have tracebacks show the lines of a cell in this process; return the name under which they find it.

    Parameters
    ----------
    path
        The notebook's file.
    index
        The cell's index.
    source
        The cell.
    """
    name = f"{path}[{index}]"
    linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name
    return name


def _compiled(shell: Any, path: str, index: int, source: str) -> Any:
    """Compile a cell.

    Parameters
    ----------
    shell
        The task's shell.
    path
        The notebook's file.
    index
        The cell's index.
    source
        The cell.

    Raises
    ------
    SyntaxError
        The cell is no Python; the error has the cell's own line numbers.
    """
    file = show_source(path, index, source)
    if source.lstrip().startswith(MAGIC):
        source = "\n" + source.lstrip().partition("\n")[2]  # the lines keep their numbers
    # IPython drops empty lines at the beginning, which count in the cell's line numbers.
    dropped = len(source) - len(source.lstrip("\n"))
    tree = ast.parse("\n" * dropped + shell.transform_cell(source), file)
    return compile_cell(tree, file, shell.compile.flags, is_quiet(source))
