"""Makes docs/states.md, drawings and tables of the three state machines, from the tables that the code carries out."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from scaler_notebook.engines.local.scheduler import states as stages
from scaler_notebook.engines.scaler.client import states as scaler_stages
from scaler_notebook.protocol import states

PAGE = Path(__file__).parents[1] / "docs" / "states.md"

Table = Mapping[tuple[Any, Any], Any]  # (state, event) → action; the action's ``to`` are the states that it leads to

HEAD = """\
# The three state machines

Made by `tools/draw_states.py` from the tables that the code carries out; a test compares them. A drawing shows the
events that move a task; the table below it shows every event in every state, with what is done and, after an arrow,
where that leads. – stands for an event that is ignored. *Not permitted* is logged and harmless.
"""


def arrows(table: Table) -> dict[tuple[Enum, Enum], list[str]]:
    """``(from, to)`` → the events that lead there, in the order of the table."""
    found: dict[tuple[Enum, Enum], list[str]] = {}
    for (state, event), action in table.items():
        for target in action.to:
            found.setdefault((state, target), []).append(event.value)
    return found


def drawing(table: Table, first: Enum) -> str:
    """A mermaid diagram."""
    found = arrows(table)
    lines = ["stateDiagram-v2", f"    [*] --> {first.name}"]
    lines += [f"    {state.name} --> {to.name} : {'<br>'.join(events)}" for (state, to), events in found.items()]
    lines += [f"    {to.name} --> [*]" for to in type(first) if all(state is not to for state, _ in found)]
    return "\n".join(["```mermaid", *lines, "```"])


def cell(action: Any) -> str:
    """What is done about an event, and where it leads."""
    if action.name == "IGNORE":
        return "–"
    if action.name == "NOT_PERMITTED":
        return f"*{action.value}*"
    return f"{action.value} → **{' or '.join(to.name for to in action.to)}**" if action.to else str(action.value)


def whole(table: Table) -> str:
    """The table itself, in Markdown."""
    columns = list(dict.fromkeys(state for state, _ in table))
    rows = [["", *(state.name for state in columns)], ["---"] * (len(columns) + 1)]
    for event in dict.fromkeys(event for _, event in table):
        rows.append([event.value, *(cell(table[state, event]) for state in columns)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def page() -> str:
    """All of docs/states.md."""
    parts = [HEAD]
    for title, module, first in (
        ("A task as its future sees it", states, states.TaskState.SUBMITTED),
        ("A task in the scheduler's hands", stages, stages.Stage.QUEUED),
        ("A task at a cluster of Scaler's, as its client sees it", scaler_stages, scaler_stages.ScalerStage.WAITING),
    ):
        path = module.__name__.replace(".", "/") + ".py"
        parts += [f"## {title}\n\n[`{path}`](../{path}) has the table, and what each state and action means.\n"]
        parts += [drawing(module.TABLE, first) + "\n", whole(module.TABLE) + "\n"]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
