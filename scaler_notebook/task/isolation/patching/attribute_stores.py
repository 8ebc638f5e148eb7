"""The attributes and items of other objects that some code may replace, as far as the code's instructions say.

Code that replaces an attribute names it, as in ``json.dumps = mine``, ``setattr(json, "dumps", mine)`` or
``mock.patch("json.dumps").start()``. Often it names the object, too. Where it does not (``module.dumps = mine``, with
any module as an argument), the object is one of those that the code of the same call names elsewhere.
"""

import functools
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import CodeType
from typing import Any, NamedTuple

from .code_reader import STORE_CODES, STORE_NAMES, CodeReader, DottedName

_RUN_TEXT = frozenset({"exec", "eval", "compile", "run_line_magic", "run_cell_magic"})
_FIND_MODULES = frozenset({"modules", "import_module", "__import__"})
_NAMES = STORE_NAMES | _RUN_TEXT
LONGEST_TEXT = 10_000  # characters; a longer text is not read as code


class AttributeStores(NamedTuple):
    """The attributes and items that some code may replace.

    Parameters
    ----------
    exact
        Objects that the code names, each with the name of an attribute.
    items
        Containers that the code names, and whose items it may replace.
    names
        Names of attributes of objects that the code does not name.
    by_name
        Whether the code may replace attributes that a text names.
    mentioned
        All objects that the code names.
    texts
        The identifiers among the code's texts.
    """

    exact: tuple[tuple[DottedName, str], ...]
    items: tuple[DottedName, ...]
    names: frozenset[str]
    by_name: bool
    mentioned: tuple[DottedName, ...]
    texts: frozenset[str]


def may_store(code: CodeType) -> bool:
    """Return whether some code may replace anything at all. This is quick, as it is asked for all code."""
    if not code.co_names:
        return False
    instructions = code.co_code[::2]
    return any(each in instructions for each in STORE_CODES) or not _NAMES.isdisjoint(code.co_names)


@functools.lru_cache(maxsize=1024)
def attribute_stores(code: CodeType) -> AttributeStores:
    """Return what some code may replace, without what the functions in it may replace."""
    reader = CodeReader(code)
    reader.read()
    texts = [*texts_in(code.co_consts)]
    dotted = [text for text in texts if text.replace(".", "").isidentifier()]
    exact = [(each, chain[-1]) for chain in reader.stored for each in reader.named(chain[:-1])]
    mentioned = [each for chain in reader.loaded for each in reader.named(chain)]
    items = [each for chain in reader.containers for each in reader.named(chain)]
    if reader.by_name:
        targets = [found for text in dotted for found in dotted_targets(text)]
        exact += targets
        if ("patch", "dict") in [chain[-2:] for chain in reader.loaded]:
            items += [*mentioned, *(DottedName(*name[:2], (*name.path, attribute)) for name, attribute in targets)]
    if reader.by_name or not _FIND_MODULES.isdisjoint(code.co_names):
        mentioned += [DottedName(text, True) for text in dotted]
    found = AttributeStores(
        tuple(dict.fromkeys(exact)),
        tuple(dict.fromkeys(items)),
        frozenset(reader.names),
        reader.by_name,
        tuple(dict.fromkeys(mentioned)),
        frozenset(text for text in texts if text.isidentifier()),
    )
    if not _RUN_TEXT.isdisjoint(code.co_names):
        for inner in [each for text in texts for each in _compiled(text)]:
            found = _joined(found, attribute_stores(inner))
    return found


def _joined(one: AttributeStores, other: AttributeStores) -> AttributeStores:
    return AttributeStores(
        one.exact + other.exact,
        one.items + other.items,
        one.names | other.names,
        one.by_name or other.by_name,
        one.mentioned + other.mentioned,
        one.texts | other.texts,
    )


def with_inner_code(code: CodeType) -> Iterator[CodeType]:
    """Yield some code, and the code of all functions and classes in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from with_inner_code(constant)


def _compiled(text: str) -> Iterator[CodeType]:
    if text.isidentifier() or len(text) > LONGEST_TEXT:
        return
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield from with_inner_code(compile(text, "<text>", "exec", dont_inherit=True))


def dotted_targets(text: str) -> Iterator[tuple[DottedName, str]]:
    """Yield the objects that a text such as ``package.module.name`` may mean, each with the name of an attribute."""
    *parts, attribute = text.split(".")
    for n in range(1, len(parts) + 1):
        yield DottedName(".".join(parts[:n]), True, (*parts[n:],)), attribute


def texts_in(values: Iterable[Any]) -> Iterator[str]:
    """Yield the texts among some values, and in tuples and sets among them."""
    for each in values:
        if isinstance(each, str):
            yield each
        elif isinstance(each, tuple | frozenset):
            yield from texts_in(each)
