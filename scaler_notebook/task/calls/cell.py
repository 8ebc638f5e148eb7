"""A cell in its task process: the notebook's names around it, its code, and the names that it leaves."""

import ast
import builtins
import contextlib
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scaler_notebook.protocol import payloads

from .coroutines import completed

VALUE = "__scaler_notebook_value__"  # the name to which the value of the last expression is assigned


def compile_cell(tree: ast.Module, file: str, flags: int, quiet: bool) -> types.CodeType:
    """Compile a cell so that it keeps the value of its last expression, as :data:`VALUE`.

    Parameters
    ----------
    tree
        The cell.
    file
        The name under which tracebacks find the cell.
    flags
        Those of the shell's compiler.
    quiet
        Do not keep the last value.
    """
    __tracebackhide__ = True
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr) and not quiet:
        kept = ast.Assign([ast.Name(VALUE, ast.Store())], last.value)
        tree = ast.Module([*tree.body[:-1], ast.copy_location(kept, last)], tree.type_ignores)
    flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code: types.CodeType = compile(ast.fix_missing_locations(tree), file, "exec", flags, dont_inherit=True)
    return code


def is_quiet(body: str) -> bool:
    """Return whether a cell ends with a semicolon, which keeps a notebook from showing the last value."""
    last = body.rstrip().rpartition("\n")[2]
    return last.partition("#")[0].rstrip().endswith(";") and "'" not in last.partition("#")[2]


class AssignedNames(dict[str, Any]):
    """The values that a cell has assigned, by name.

    The ``repr`` shows the names alone, because the values may be large.
    """

    def __repr__(self) -> str:
        return f"<names of a cell: {', '.join(self) or 'none'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return AssignedNames, (dict(self),)


@dataclass(frozen=True)
class CompiledCell:
    """A compiled cell.

    Parameters
    ----------
    code
        The code of the whole cell. If the value of the last expression is to be shown, it is assigned to :data:`VALUE`.
    assigns
        The names that the cell may assign.
    wanted
        The names that must come back, with an error if one cannot. None: of all assigned names, those that can.
    everything
        Whether modules come back too, and the names of a ``from … import *``.
    uses_shell
        Whether the cell has magics, or calls ``display`` or ``get_ipython``.
    """

    code: types.CodeType
    assigns: tuple[str, ...]
    wanted: tuple[str, ...] | None = None
    everything: bool = False
    uses_shell: bool = False


class CellEnvironment:
    """The notebook's names, as a function that is called with the cell. Equal environments travel once.

    Parameters
    ----------
    values
        The values by name.
    namespace
        The notebook's namespace, which does not travel. But all functions of one pickle that were defined in a
        namespace share one in the task. The environment holds such a function, and so finds the namespace in which the
        cell has to run for the notebook's functions to see what the cell assigns.
    """

    def __init__(self, values: Mapping[str, Any], namespace: dict[str, Any]) -> None:
        self.values = dict(values)
        self.salt = ""
        self._guide: Callable[[], None] = types.FunctionType((lambda: None).__code__, namespace)
        self._guide.__module__ = "__main__"  # pickled by value

    @property
    def namespace(self) -> dict[str, Any]:
        """The notebook's namespace; in the task, the one that the notebook's functions share there."""
        return self._guide.__globals__

    def copy_with_salt(self, copied: Callable[[Any], Any], salt: str) -> "CellEnvironment":
        """Return a copy that equals no earlier environment. Values that cannot be copied stay themselves.

        Parameters
        ----------
        copied
            Copies a value.
        salt
            A text that no other environment has.
        """

        def copy(value: Any) -> Any:
            try:
                return copied(value)
            except Exception:
                return value

        found = CellEnvironment({name: copy(value) for name, value in self.values.items()}, self.namespace)
        found.salt = salt
        return found

    def __call__(self, source: CompiledCell) -> AssignedNames:
        """Run the cell, in the task process."""
        namespace = self.namespace
        from scaler_notebook.task.isolation.patching import patches  # in the task process alone

        namespace.update(self.values, __name__="__main__", __builtins__=builtins)
        patches.look_again()
        shell = _shell(namespace) if source.uses_shell else None
        before = set(namespace)
        with shell.builtin_trap if shell is not None else contextlib.nullcontext():
            completed(eval(source.code, namespace))  # a coroutine, if the cell awaits
        value = namespace.pop(VALUE, None)
        if value is not None:
            _show(value, namespace)
        assigned = [*source.assigns, *(sorted(set(namespace) - before) if source.everything else ())]
        return _collect_names(source, {name: namespace[name] for name in dict.fromkeys(assigned) if name in namespace})


def _shell(namespace: dict[str, Any]) -> Any:
    from scaler_notebook.task.display import displays  # in the task process alone

    shell = displays.task_shell()
    if displays.is_tasks_own(shell):
        shell.user_ns = namespace
    return shell


def _show(value: Any, namespace: dict[str, Any]) -> None:
    """Show the value of the cell's last expression, as the notebook would."""
    from scaler_notebook.task.display.display_publisher import publish

    bundle, metadata = _shell(namespace).display_formatter.format(value)
    if bundle:
        publish(bundle, metadata)


# ---------------------------------------------------------------------- what comes back


def _collect_names(source: CompiledCell, assigned: dict[str, Any]) -> AssignedNames:
    """Return the assigned names that come back, and print which of them cannot.

    Raises
    ------
    NameError
        A wanted name was not assigned.
    TaskSerializationError
        A wanted value cannot be pickled.
    """
    if source.wanted is not None:
        missing = [name for name in source.wanted if name not in assigned]
        if missing:
            raise NameError(f"the cell has ended without assigning {missing[0]!r}, which --out names")
        for name in source.wanted:
            problem = _unpicklable(assigned[name])
            if problem is not None:
                raise payloads.serialization_error(f"the variable {name!r}", assigned[name], problem) from problem
        return AssignedNames({name: assigned[name] for name in source.wanted})
    kept = AssignedNames()
    for name, value in assigned.items():
        if name.startswith("_") or (isinstance(value, types.ModuleType) and not source.everything):
            continue
        problem = _unpicklable(value)
        if problem is None:
            kept[name] = value
        else:
            print(f"{name} stays in the task: {problem}", file=sys.stderr)
    return kept


PLAIN = (int, float, complex, bool, str, bytes, type(None))
DATA = ("numpy", "pandas", "pyarrow", "polars", "scipy")


def _unpicklable(value: Any) -> Exception | None:
    """Return why a value cannot come back; None if it can.

    Values that are data by their type are not pickled an extra time to find out.
    """
    if isinstance(value, PLAIN) or type(value).__module__.partition(".")[0] in DATA:
        return None
    try:
        payloads.dump(value)
    except Exception as error:
        return error
    return None
