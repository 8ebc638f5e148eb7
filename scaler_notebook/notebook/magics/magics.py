"""The classes and decorators that IPython wants of a magic; :mod:`.commands` has what ``%scaler`` does."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from IPython.core import magic
from IPython.core.magic import Magics, magics_class

from . import commands

Method = TypeVar("Method", bound=Callable[..., Any])


def _line_cell_magic(method: Method) -> Method:
    """Make a method a line and cell magic whose line is taken as it stands: IPython would expand ``{alpha}`` in it."""
    untyped: Any = magic  # IPython 8's decorators have no types
    return cast(Method, untyped.no_var_expand(untyped.line_cell_magic(method)))


@magics_class
class ScalerMagics(Magics):
    """The ``%scaler`` magic, and ``%%scaler``."""

    @_line_cell_magic
    def scaler(self, line: str, cell: str | None = None) -> Any:
        """Run, see and stop tasks; ``%scaler --help`` and ``%%scaler --help`` say how."""
        __tracebackhide__ = True
        if cell is None:
            return commands.run(self.shell, line)
        return commands.run_cell(self.shell, line, cell)
