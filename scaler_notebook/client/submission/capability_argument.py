"""A capability as people type it, ``gpu=2``: for the command line and for the magics, by one rule."""

import argparse

from .options import checked_capabilities


def parse_capability(text: str) -> tuple[str, int]:
    """Parse ``NAME=N``; a name alone stands for an amount of 1. For argparse's ``type=``.

    Parameters
    ----------
    text
        What was typed.

    Returns
    -------
    tuple[str, int]
        The name of the capability, and the amount.

    Raises
    ------
    argparse.ArgumentTypeError
        The text has another form, or its amount is one that :func:`.options.checked_capabilities` refuses.
    """
    name, equals, number = text.partition("=")
    if not equals:
        number = "1"
    if not name or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not like gpu=1")
    try:
        return name, checked_capabilities({name: int(number)})[name]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
