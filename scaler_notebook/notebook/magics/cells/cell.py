"""The preparation of a ``%%scaler`` cell. It is compiled in the notebook, so that errors in it are raised at once."""

import ast
import builtins
import inspect
import itertools
from typing import Any, NamedTuple

from IPython.core.error import UsageError

from scaler_notebook.protocol import payloads
from scaler_notebook.suggestions import did_you_mean
from scaler_notebook.task.calls.cell import CellEnvironment, CompiledCell, compile_cell, is_quiet

from . import names
from .promised_names import PROMISED

# Names that IPython puts into every namespace. They do not travel: a task has those of its own process.
IPYTHON_NAMES = ("get_ipython", "display", "exit", "quit", "open", "In", "Out", "_ih", "_oh", "_dh")
LARGE_VARIABLE = 200_000_000  # bytes; from that size on the user is told that a variable is copied


class PreparedCell(NamedTuple):
    """A cell that is ready to be submitted.

    Parameters
    ----------
    environment
        The variables that travel with the cell.
    source
        The compiled code, with the names that it assigns.
    title
        What a card shows of the cell.
    large
        The names of large variables, with their sizes in bytes.
    """

    environment: CellEnvironment
    source: CompiledCell
    title: str
    large: tuple[tuple[str, int], ...]


def prepare_cell(
    shell: Any, head: str, body: str, given: tuple[str, ...] = (), out: tuple[str, ...] = ()
) -> PreparedCell:
    """Compile a cell and gather the variables that it reads.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    head
        The first line of the cell, with the magic.
    body
        The other lines.
    given
        Names that travel although the code does not show that it reads them.
    out
        Names that must come back; ``"*"`` for all that the cell assigns.

    Raises
    ------
    SyntaxError
        The code is no Python; the error has the cell's own line numbers.
    NameError
        The cell reads a name that neither the notebook nor the cell nor Python has.
    UsageError
        There is nothing to run, or the cell does not assign a name in ``out``.
    TaskSerializationError
        A variable cannot be pickled; the message names it.
    """
    __tracebackhide__ = True
    raw = f"{head}\n{body}"
    tree, file = _parse_cell(shell, raw, body)
    found = names.analyse_names(tree)
    PROMISED.wait_for(*found.reads, *given)
    everything = "*" in out
    _check_out(out, found)
    values = _collect_values(shell, found, given)
    code = compile_cell(tree, file, shell.compile.flags, is_quiet(body))
    source = CompiledCell(
        code,
        found.assigns,
        None if everything or not out else out,
        everything,
        bool({"get_ipython", "display"} & set(found.reads)),
    )
    large = tuple((name, size) for name, value in values.items() if (size := _size_in_bytes(value)) >= LARGE_VARIABLE)
    return PreparedCell(_build_environment(values, shell.user_ns), source, _title(body), large)


def _parse_cell(shell: Any, raw: str, body: str) -> tuple[ast.Module, str]:
    """Parse a cell, with its own line numbers.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    raw
        The whole cell.
    body
        The cell without its first line.

    Returns
    -------
    tuple[ast.Module, str]
        The tree, and the name under which tracebacks find the cell.
    """
    __tracebackhide__ = True
    if body.lstrip().startswith("%%"):
        magic = body.split()[0]
        raise UsageError(
            f"{magic} cannot stand in a %%scaler cell: it would get the code as a text. Leave it out, or use a line "
            f"magic: {magic[1:]} …"
        )
    file = shell.compile.cache(raw, _cell_number(shell), raw)
    # IPython drops empty lines at the beginning. They and the magic's line count in the cell's line numbers.
    dropped = sum(1 for _ in itertools.takewhile(lambda line: not line.strip(), body.splitlines()))
    tree = ast.parse("\n" * (1 + dropped) + shell.transform_cell(body), file)
    if not tree.body:
        raise UsageError("there is nothing to run: the rest of the %%scaler cell is empty")
    return tree, file


def _cell_number(shell: Any) -> int:
    """Return the number of the running cell; IPython counts before or after a cell runs, depending on its version."""
    try:
        return max(1, len(shell.history_manager.input_hist_raw) - 1)
    except AttributeError:
        return int(shell.execution_count)


def _check_out(out: tuple[str, ...], found: names.NameUsage) -> None:
    """Raise a UsageError for a name in ``out`` that the cell does not assign.

    Parameters
    ----------
    out
        Names that must come back.
    found
        The names that the cell reads and assigns.
    """
    for name in out:
        if name != "*" and name not in found.assigns and not found.has_star_import:
            assigned = f"It assigns {', '.join(found.assigns)}." if found.assigns else "It assigns nothing."
            raise UsageError(
                f"--out {name}: the cell does not assign it{did_you_mean(name, found.assigns) or '.'} {assigned}"
            )


def _collect_values(shell: Any, found: names.NameUsage, given: tuple[str, ...]) -> dict[str, Any]:
    """Collect the notebook's variables that travel with a cell.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    found
        The names that the cell reads and assigns.
    given
        Names that travel although the code does not show that it reads them.

    Raises
    ------
    NameError
        A name is not defined.
    """
    __tracebackhide__ = True
    namespace = shell.user_ns
    for name in given:
        if name not in namespace:
            raise NameError(f"--in {name}: name {name!r} is not defined{did_you_mean(name, namespace)}", name=name)
    values = {}
    for name in (*found.reads, *given):
        if name in namespace and not (name in IPYTHON_NAMES and _is_ipython_own(shell, name)):
            values[name] = namespace[name]
        elif name not in namespace and not (
            name in found.assigns or found.has_star_import or hasattr(builtins, name) or name in IPYTHON_NAMES
        ):
            promised = PROMISED.words(name)
            raise NameError(f"name {name!r} is not defined; nothing was submitted{promised and f'. {promised}'}")
    for name in found.mentions:
        if name in namespace and name not in IPYTHON_NAMES:
            values.setdefault(name, namespace[name])
    return values


def _is_ipython_own(shell: Any, name: str) -> bool:
    """Return whether a name still has the value that IPython gave it.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    name
        The name.
    """
    return shell.user_ns[name] is shell.user_ns_hidden.get(name, shell.user_ns[name])


def _build_environment(values: dict[str, Any], namespace: dict[str, Any]) -> CellEnvironment:
    """Gather the values that travel with a cell.

    Parameters
    ----------
    values
        The variables, by name.
    namespace
        The notebook's namespace.

    Raises
    ------
    TaskSerializationError
        A variable is a generator or a coroutine; the message says what else would do.
    """
    for name, value in values.items():
        if inspect.isgenerator(value) or inspect.iscoroutine(value):
            raise payloads.serialization_error(
                f"the variable {name!r}", value, TypeError("it can be run once, and here; make a list of it first")
            )
    return CellEnvironment(values, namespace)


def _title(body: str) -> str:
    """Return the first line of code, with an ellipsis if there is more."""
    lines = [line.strip() for line in body.splitlines()]
    code = [line for line in lines if line and not line.startswith("#")]
    return code[0] + (" …" if len(code) > 1 else "")


def _size_in_bytes(value: Any) -> int:
    """Return the size of an array or a frame; 0 for other objects. Texts that a pandas frame refers to do not count."""
    usage = getattr(value, "memory_usage", None)
    try:
        if callable(usage) and not isinstance(value, type):
            found = usage()
            return int(found.sum() if hasattr(found, "sum") else found)
        return int(getattr(value, "nbytes", 0))
    except Exception:
        return 0
