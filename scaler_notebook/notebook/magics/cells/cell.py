"""A ``%%scaler`` cell on the notebook's side: compiled here, so that what is wrong with it is said at once."""

import ast
import builtins
import inspect
import itertools
from typing import Any, NamedTuple

from IPython.core.error import UsageError

from scaler_notebook.notebook.magics.commands.parsing import nearest
from scaler_notebook.protocol import payloads
from scaler_notebook.task.cell import VALUE, CellEnvironment, CompiledCell

from . import names

# IPython's own, which every namespace of its has; a task has those of its own process.
IPYTHONS = ("get_ipython", "display", "exit", "quit", "open", "In", "Out", "_ih", "_oh", "_dh")
LARGE = 200_000_000  # bytes of one variable, about which a word is said


class Prepared(NamedTuple):
    """A cell that is ready to be sent."""

    environment: CellEnvironment
    source: CompiledCell
    title: str
    large: tuple[tuple[str, int], ...]  # variables and their sizes in bytes


def prepare(shell: Any, head: str, body: str, given: tuple[str, ...] = (), out: tuple[str, ...] = ()) -> Prepared:
    """Compile a cell and gather what it reads.

    Parameters
    ----------
    shell
        The notebook's.
    head
        The first line of the cell, with the magic.
    body
        The rest.
    given
        Names that travel although the code does not show that it reads them.
    out
        Names that must come back; ``"*"``: all that the cell assigns.

    Raises
    ------
    SyntaxError
        With the cell's own line numbers.
    NameError
        It reads a name that neither the notebook nor the cell nor Python has.
    UsageError
        There is nothing to run, or nothing of what ``out`` names.
    TaskSerializationError
        A variable cannot be pickled; the message names it.
    """
    __tracebackhide__ = True
    raw = f"{head}\n{body}"
    tree, file = _parse(shell, raw, body)
    found = names.analyse(tree)
    everything = "*" in out
    _check_out(out, found)
    values = _values(shell, found, given)
    code = _compile(shell, tree, file, _is_quiet(body))
    source = CompiledCell(
        code,
        found.assigns,
        None if everything or not out else out,
        everything,
        bool({"get_ipython", "display"} & set(found.reads)),
    )
    large = tuple((name, size) for name, value in values.items() if (size := _size(value)) >= LARGE)
    return Prepared(_environment(values, shell.user_ns), source, _title(body), large)


def _parse(shell: Any, raw: str, body: str) -> tuple[ast.Module, str]:
    __tracebackhide__ = True
    if body.lstrip().startswith("%%"):
        magic = body.split()[0]
        raise UsageError(
            f"{magic} cannot stand in a %%scaler cell: it would get the code as a text. Leave it out, or use a line "
            f"magic: {magic[1:]} …"
        )
    file = shell.compile.cache(raw, _number(shell), raw)
    # As many lines down as the cell's own numbers count before it: the magic's, and empty ones, which IPython drops.
    dropped = sum(1 for _ in itertools.takewhile(lambda line: not line.strip(), body.splitlines()))
    tree = ast.parse("\n" * (1 + dropped) + shell.transform_cell(body), file)
    if not tree.body:
        raise UsageError("there is nothing to run: the rest of the %%scaler cell is empty")
    return tree, file


def _number(shell: Any) -> int:
    """Of the cell that runs. IPython counts on before it runs a cell or after it, as the version may be."""
    try:
        return max(1, len(shell.history_manager.input_hist_raw) - 1)
    except AttributeError:
        return int(shell.execution_count)


def _compile(shell: Any, tree: ast.Module, file: str, quiet: bool) -> Any:
    __tracebackhide__ = True
    last = tree.body[-1]
    if isinstance(last, ast.Expr) and not quiet:
        kept = ast.Assign([ast.Name(VALUE, ast.Store())], last.value)
        tree = ast.Module([*tree.body[:-1], ast.copy_location(kept, last)], tree.type_ignores)
    flags = shell.compile.flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile(ast.fix_missing_locations(tree), file, "exec", flags, dont_inherit=True)


def _is_quiet(body: str) -> bool:
    """Does it end with a semicolon, which keeps a notebook from showing the last value?"""
    last = body.rstrip().rpartition("\n")[2]
    return last.partition("#")[0].rstrip().endswith(";") and "'" not in last.partition("#")[2]


def _check_out(out: tuple[str, ...], found: names.CellNames) -> None:
    for name in out:
        if name != "*" and name not in found.assigns and not found.is_open:
            assigned = f"It assigns {', '.join(found.assigns)}." if found.assigns else "It assigns nothing."
            raise UsageError(
                f"--out {name}: the cell does not assign it{nearest(name, found.assigns) or '.'} {assigned}"
            )


def _values(shell: Any, found: names.CellNames, given: tuple[str, ...]) -> dict[str, Any]:
    __tracebackhide__ = True
    namespace = shell.user_ns
    for name in given:
        if name not in namespace:
            raise NameError(f"--in {name}: name {name!r} is not defined{nearest(name, namespace)}")
    values = {}
    for name in (*found.reads, *given):
        if name in namespace and not (name in IPYTHONS and _is_ipythons(shell, name)):
            values[name] = namespace[name]
        elif name not in namespace and not (
            name in found.assigns or found.is_open or hasattr(builtins, name) or name in IPYTHONS
        ):
            raise NameError(f"name {name!r} is not defined; nothing was submitted")
    for name in found.mentions:
        if name in namespace and name not in IPYTHONS:
            values.setdefault(name, namespace[name])
    return values


def _is_ipythons(shell: Any, name: str) -> bool:
    return shell.user_ns[name] is shell.user_ns_hidden.get(name, shell.user_ns[name])


def _environment(values: dict[str, Any], namespace: dict[str, Any]) -> CellEnvironment:
    """Raises TaskSerializationError for what cannot travel, and says what else would do."""
    for name, value in values.items():
        if inspect.isgenerator(value) or inspect.iscoroutine(value):
            raise payloads.serialization_error(
                f"the variable {name!r}", value, TypeError("it can be run once, and here; make a list of it first")
            )
    return CellEnvironment(values, namespace)


def _title(body: str) -> str:
    """The first line of code."""
    lines = [line.strip() for line in body.splitlines()]
    code = [line for line in lines if line and not line.startswith("#")]
    return code[0] + (" …" if len(code) > 1 else "")


def _size(value: Any) -> int:
    """Of what says so itself, in bytes; pandas' is without the texts that it refers to."""
    usage = getattr(value, "memory_usage", None)
    try:
        if callable(usage) and not isinstance(value, type):
            found = usage()
            return int(found.sum() if hasattr(found, "sum") else found)
        return int(getattr(value, "nbytes", 0))
    except Exception:
        return 0
