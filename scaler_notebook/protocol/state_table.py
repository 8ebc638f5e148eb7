"""The form of a state machine: one table of what each event does in each state."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar


class ActionLike(Protocol):
    """The content of a table's cell: a member of an enum."""

    @property
    def to(self) -> tuple[Any, ...]:
        """The states that the action may lead to; empty if the state stays."""

    @property
    def name(self) -> str:
        """The member's name: ``IGNORE`` and ``NOT_PERMITTED`` mean in every table the same."""

    @property
    def value(self) -> Any:
        """The action in words."""


S = TypeVar("S", bound=Enum)
E = TypeVar("E")
A = TypeVar("A", bound=ActionLike)


class TransitionTable(dict[tuple[S, E], A], Generic[S, E, A]):
    """A table of what each event does in each state; every combination has its action.

    Parameters
    ----------
    states
        The columns.
    rows
        By event, the action in each of ``states``. An event is a member of an enum, or the class of typed events; its
        words for a drawing are the member's value, or the class's attribute ``words``.

    Raises
    ------
    ValueError
        A row is too short or too long, or an action of the enum stands in no cell.
    """

    def __init__(self, states: Sequence[S], rows: Mapping[E, Sequence[A]]) -> None:
        self.states = tuple(states)
        self.events = tuple(rows)
        super().__init__()
        for event, row in rows.items():
            if len(row) != len(self.states):
                raise ValueError(f"{words(event)}: {len(row)} actions for {len(self.states)} states")
            self.update({(state, event): action for state, action in zip(self.states, row, strict=True)})
        kind: Any = type(next(iter(self.values())))
        if idle := set(kind) - set(self.values()):
            raise ValueError(f"no event leads to {', '.join(sorted(action.name for action in idle))}")

    # ------------------------------------------------------------------ drawings

    def diagram(self, first: S) -> str:
        """Draw the moves as a Mermaid state diagram that begins at ``first``."""
        moves: dict[tuple[S, S], list[str]] = {}
        for (state, event), action in self.items():
            for target in action.to:
                moves.setdefault((state, target), []).append(words(event))
        lines = ["stateDiagram-v2", f"    [*] --> {first.name}"]
        lines += [f"    {state.name} --> {to.name} : {'<br>'.join(events)}" for (state, to), events in moves.items()]
        lines += [
            f"    {state.name} --> [*]" for state in type(first) if all(state is not source for source, _ in moves)
        ]
        return "\n".join(["```mermaid", *lines, "```"])

    def markdown(self) -> str:
        """Write the whole table in Markdown, an event a row."""
        rows = [["", *(state.name for state in self.states)], ["---"] * (len(self.states) + 1)]
        rows += [[words(event), *(_cell(self[state, event]) for state in self.states)] for event in self.events]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def words(event: object) -> str:
    """Give the words of an event: of a member of an enum, or of a class of events."""
    return str(event.value if isinstance(event, Enum) else getattr(event, "words", event))


def _cell(action: ActionLike) -> str:
    if action.name == "IGNORE":
        return "–"
    if action.name == "NOT_PERMITTED":
        return f"*{action.value}*"
    return f"{action.value} → **{' or '.join(to.name for to in action.to)}**" if action.to else str(action.value)
