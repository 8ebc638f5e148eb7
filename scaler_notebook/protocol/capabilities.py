"""The capabilities that an engine's workers have, and the check of what a task needs against them."""

from collections.abc import Mapping, Sequence

from .errors import CapabilityError, ProtocolError
from .messages import Capability


def check(needs: Sequence[Capability], available: Mapping[str, int]) -> None:
    """Raise unless tasks with these needs can run on the engine.

    Parameters
    ----------
    needs
        What the task needs.
    available
        How much of each capability the engine has in all, by name.

    Raises
    ------
    CapabilityError
        The engine lacks a capability, or has less of it than the task needs.
    ProtocolError
        A capability is named twice, or an amount is not positive: no client of this package asks for that.
    """
    if not needs:  # most tasks
        return
    if len(as_dict(needs)) < len(needs) or any(wanted.amount < 1 for wanted in needs):
        raise ProtocolError("a capability that is named twice, or of which nothing is needed")
    for wanted in needs:
        amount = available.get(wanted.name, 0)
        if amount < wanted.amount:
            has = (
                f"{amount} of it"
                if wanted.name in available
                else f"none ({', '.join(sorted(available)) or 'no capability'})"
            )
            raise CapabilityError(
                f"the task needs {wanted.amount} of the capability {wanted.name!r}, and its engine has {has}. Give the "
                f"executor what it is to have: NotebookExecutor(capabilities={{{wanted.name!r}: {wanted.amount}}})",
                wanted.name,
                wanted.amount,
                amount,
            )


def as_dict(capabilities: Sequence[Capability]) -> dict[str, int]:
    """Return the amounts of capabilities by name."""
    return {capability.name: capability.amount for capability in capabilities}


def as_tuple(capabilities: Mapping[str, int]) -> tuple[Capability, ...]:
    """Return capabilities sorted by name, so that equal sets of them compare equal."""
    return tuple(Capability(name, amount) for name, amount in sorted(capabilities.items()))
