"""Makes docs/magics.md from the parsers of ``%scaler`` and ``%%scaler``."""

from __future__ import annotations

from pathlib import Path

from scaler_notebook.notebook.magics.commands import COMMANDS
from scaler_notebook.notebook.magics.commands.cell import parser

PAGE = Path(__file__).parents[1] / "docs" / "magics.md"

HEAD = """\
# The magics

Made by `tools/draw_magics.py` from the code that carries them out; a test compares them. `%load_ext scaler_notebook`
brings them. Tab completes commands, options, ids and names of tasks; a comment may follow them, as in
`%scaler cancel fit  # too slow`. `notebooks/magics.ipynb` uses all of them.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, f"## `%%scaler`\n\n```text\n{parser().format_help().rstrip()}\n```\n"]
    parts += [f"## `%scaler {c.name}`\n\n```text\n{c.parser.format_help().rstrip()}\n```\n" for c in COMMANDS.values()]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
