"""``%scaler`` and ``%%scaler``: IPython's side of them; :mod:`.commands` has what they do."""

from typing import Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from . import commands


@magics_class
class ScalerMagics(Magics):
    """The ``%scaler`` magic, and ``%%scaler``."""

    # Without it IPython would replace {alpha} in the line by the value of alpha.
    @no_var_expand
    @line_cell_magic
    def scaler(self, line: str, cell: str | None = None) -> Any:
        """Run, see and stop tasks; ``%scaler --help`` and ``%%scaler --help`` say how."""
        __tracebackhide__ = True
        if cell is None:
            return commands.run(self.shell, line)
        return commands.run_cell(self.shell, line, cell)
