"""What an engine's workers have, and whether that is what a task needs."""

from collections.abc import Mapping, Sequence

from .errors import CapabilityError, ProtocolError
from .messages import Capability


def check(needs: Sequence[Capability], there: Mapping[str, int]) -> None:
    """Could a task that needs these ever run?

    Parameters
    ----------
    there
        What the engine has in all.

    Raises
    ------
    CapabilityError
        The engine lacks one, or has less of it.
    ProtocolError
        They are not what a client of ours asks for.
    """
    if len(as_dict(needs)) < len(needs) or any(wanted.amount < 1 for wanted in needs):
        raise ProtocolError("a capability that is named twice, or of which nothing is needed")
    for wanted in needs:
        amount = there.get(wanted.name, 0)
        if amount < wanted.amount:
            has = f"{amount} of it" if wanted.name in there else f"none ({', '.join(sorted(there)) or 'no capability'})"
            raise CapabilityError(
                f"the task needs {wanted.amount} of the capability {wanted.name!r}, and its engine has {has}. Give the "
                f"executor what it is to have: NotebookExecutor(capabilities={{{wanted.name!r}: {wanted.amount}}})",
                wanted.name,
                wanted.amount,
                amount,
            )


def as_dict(capabilities: Sequence[Capability]) -> dict[str, int]:
    """By name."""
    return {capability.name: capability.amount for capability in capabilities}


def as_tuple(capabilities: Mapping[str, int]) -> tuple[Capability, ...]:
    """Sorted by name, so that equal ones are equal."""
    return tuple(Capability(name, amount) for name, amount in sorted(capabilities.items()))
