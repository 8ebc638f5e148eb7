"""Makes docs/states.md, drawings and tables of the three state machines, from the tables that the code carries out."""

from __future__ import annotations

from pathlib import Path

from scaler_notebook.engines.local.scheduler.core import states as stages
from scaler_notebook.engines.scaler.client import states as scaler_stages
from scaler_notebook.protocol import states

PAGE = Path(__file__).parents[1] / "docs" / "states.md"

HEAD = """\
# The three state machines

Made by `tools/draw_states.py` from the tables that the code carries out; a test compares them. A drawing shows the
events that move a task; the table below it shows every event in every state, with what is done and, after an arrow,
where that leads. – stands for an event that is ignored. *Not permitted* is logged and harmless.
"""


def page() -> str:
    """All of docs/states.md."""
    parts = [HEAD]
    for title, module, first in (
        ("A task as its future sees it", states, states.TaskState.SUBMITTED),
        ("A task in the scheduler", stages, stages.Stage.QUEUED),
        ("A task at a cluster of Scaler's, as its client sees it", scaler_stages, scaler_stages.Stage.WAITING),
    ):
        path = module.__name__.replace(".", "/") + ".py"
        parts += [f"## {title}\n\n[`{path}`](../{path}) has the table, and what each state and action means.\n"]
        parts += [module.TABLE.diagram(first) + "\n", module.TABLE.markdown() + "\n"]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
