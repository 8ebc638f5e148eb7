"""Arguments of a command line and of magics for what tasks share: ``licence=2``, ``0,1``."""

import argparse

from scaler_notebook.engines.local.client.gpus import Gpus

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


def parse_gpus(text: str) -> Gpus:
    """Parse the GPUs of an engine: ``auto``, a number of them, or their numbers or names with commas (``1,`` for one).

    Parameters
    ----------
    text
        What was typed.
    """
    if text == "auto":
        return text
    if text.isdecimal():
        return int(text)
    return [int(each) if each.isdecimal() else each for each in map(str.strip, text.split(",")) if each]
