"""The hint ``; did you mean …?`` at the end of an error message about a misspelt name."""

from collections.abc import Callable, Iterable


def did_you_mean(word: object, known: Iterable[str], shown: Callable[[str], str] = str) -> str:
    """Suggest the known name that is closest to a misspelt one.

    Parameters
    ----------
    word
        The misspelt name. Nothing is close to an object that is no text.
    known
        The names that exist.
    shown
        Writes the suggested name into the hint: ``repr`` where a Python string is meant, ``str`` where a word is.

    Returns
    -------
    str
        ``; did you mean …?``; empty if no known name is close.
    """
    if not isinstance(word, str):
        return ""
    import difflib  # here, because only what is misspelt needs it

    close = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {shown(close[0])}?" if close else ""
