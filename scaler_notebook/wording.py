"""Words of messages as a person reads them: articles, and numbers with their nouns."""

import re

# "an" stands before what is spoken with a vowel first: an int, an RLock, an ndarray; but a uint8, a UUID.
_SPOKEN_WITH_A_VOWEL = re.compile(r"_*(?:[AIOaio]|[Ee](?!u)|[Uu]n(?!i)|ndarray\b|[FHLMNRSX](?![a-z]))")


def with_article(noun: str) -> str:
    """Return a noun, such as the name of a type, with its indefinite article: ``an int``, ``a list``."""
    return f"{'an' if _SPOKEN_WITH_A_VOWEL.match(noun) else 'a'} {noun}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 worker``, ``2 workers``, ``1,000 processes``.

    Parameters
    ----------
    number
        The number.
    noun
        The noun for one.
    plural
        The noun for any other number, where an ``s`` does not make it.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def sentence(words: str) -> str:
    """Return words with a full stop, unless they end with a stop of their own."""
    return words if words.endswith((".", "?", "!")) else f"{words}."
