"""The commands of ``%scaler``: one table, each with its parser, so that help, completion and docs agree."""

from .cell import run as run_cell
from .table import COMMANDS, Command, run

__all__ = ["COMMANDS", "Command", "run", "run_cell"]
