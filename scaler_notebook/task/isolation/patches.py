"""Attributes of modules and of their classes that the code of a task replaces: put back when the task has ended.

Comparing all attributes of all modules would take milliseconds after each task. But code that replaces one names it, as
in ``json.dumps = mine``, ``setattr(json, "dumps", mine)`` or ``mock.patch("json.dumps").start()``. So the code that
came with a call is looked through for such names before the task begins, and what they refer to is compared when the
task has ended. What a library replaces by itself, for example when it is first used, stays.
"""

import dis
import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from types import CodeType, ModuleType
from typing import Any, NamedTuple

_STORES = ("STORE_ATTR", "DELETE_ATTR")
_STORE_CODES = bytes(dis.opmap[name] for name in _STORES)
_BY_NAME = frozenset({"setattr", "delattr", "patch", "monkeypatch", "__dict__", "vars"})  # given the attribute's name
_LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FAST", "LOAD_DEREF", "LOAD_CLASSDEREF")
_BINDINGS = ("STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
_ABSENT = object()


class Target(NamedTuple):
    """An attribute that some code may replace, as the code names it.

    Parameters
    ----------
    root
        The name of the first object: that of a module if ``is_module``, else a name in the code's namespace.
    is_module
        Whether the root is a module that the code imports by itself, or a dotted name in a text.
    path
        The names of the attributes that lead from the root to the attribute, and the attribute's own.
    """

    root: str
    is_module: bool
    path: tuple[str, ...]


class _Replaced(NamedTuple):
    owner: Any  # a module or a class
    name: str
    before: Any


class Patches:
    """The attributes that the current task may replace, with their values from before the task."""

    def __init__(self) -> None:
        self._unresolved: dict[Target, Mapping[str, Mapping[str, Any]]] = {}  # with the namespaces of the code
        self._watched: list[_Replaced] = []
        self._when_stored: dict[str, Callable[[], object]] = {}
        self._stored: set[str] = set()  # those of these names that the current task's code stores to

    def when_stored(self, attribute: str, call: Callable[[], object]) -> None:
        """Call a function after each task whose code may store to an attribute of some object.

        Parameters
        ----------
        attribute
            The name of the attribute.
        call
            Called by :meth:`report_stores`.
        """
        self._when_stored[attribute] = call

    def report_stores(self) -> None:
        """Call the functions that were given to :meth:`when_stored`, if the current task's code gives reason."""
        while self._stored:
            self._when_stored[self._stored.pop()]()

    def watch(self, codes: Iterable[CodeType], namespaces: Mapping[str, Mapping[str, Any]]) -> None:
        """Note the values of the attributes that some code may replace.

        Parameters
        ----------
        codes
            The code that has come with the call of a task.
        namespaces
            The namespaces of its functions, by module.
        """
        for code in codes:
            if _may_replace(code):
                self._stored.update(name for name in self._when_stored if name in code.co_names)
                for target in _targets(code):
                    self._unresolved[target] = namespaces
        if self._unresolved:
            self.look_again()

    def look_again(self) -> None:
        """Note the values of attributes of modules that have been imported meanwhile."""
        for target, namespaces in [*self._unresolved.items()]:
            owner = _owner(target, namespaces)
            if owner is not None:
                del self._unresolved[target]
                self._watched.append(_Replaced(owner, target.path[-1], vars(owner).get(target.path[-1], _ABSENT)))

    def undo(self) -> None:
        """Restore the attributes that have been replaced, the last first, and forget all."""
        self._unresolved = {}
        while self._watched:
            owner, name, before = self._watched.pop()
            if vars(owner).get(name, _ABSENT) is not before:
                with suppress(Exception):  # a class that does not let its attributes be set
                    delattr(owner, name) if before is _ABSENT else setattr(owner, name, before)


def _owner(target: Target, namespaces: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return the module or class that has a target's attribute, without running any code; None if there is none."""
    if target.is_module:
        owner: Any = sys.modules.get(target.root)
    else:
        owner = next((names[target.root] for names in namespaces.values() if target.root in names), None)
    for name in target.path[:-1]:
        owner = _attribute(owner, name)
    return owner if isinstance(owner, ModuleType | type) else None


def _attribute(owner: Any, name: str) -> Any:
    if not isinstance(owner, ModuleType | type):
        return None
    found = vars(owner).get(name)
    return sys.modules.get(f"{owner.__name__}.{name}") if found is None and isinstance(owner, ModuleType) else found


def _may_replace(code: CodeType) -> bool:
    """Return whether some code may replace an attribute at all. This is quick, as it is asked for all code."""
    if not code.co_names:
        return False
    instructions = code.co_code[::2]
    return any(each in instructions for each in _STORE_CODES) or not _BY_NAME.isdisjoint(code.co_names)


@functools.lru_cache(maxsize=1024)
def _targets(code: CodeType) -> tuple[Target, ...]:
    """Return the attributes of modules and classes that some code may replace."""
    found = _Reader(code)
    found.read()
    targets = [_target(found.aliases, chain) for chain in found.stored]
    if not _BY_NAME.isdisjoint(code.co_names):
        texts = [*_texts(code.co_consts)]
        names = [text for text in texts if text.isidentifier()]
        targets += [_target(found.aliases, (*chain, name)) for chain in found.loaded for name in names]
        for text in texts:
            parts = tuple(text.split("."))
            if len(parts) > 1 and all(part.isidentifier() for part in parts):
                targets += [Target(".".join(parts[:n]), True, parts[n:]) for n in range(1, len(parts))]
    return tuple(dict.fromkeys(targets))


def _target(aliases: Mapping[str, tuple[str, tuple[str, ...]]], chain: tuple[str, ...]) -> Target:
    root, *path = chain
    if root not in aliases:
        return Target(root, False, tuple(path))
    module, more = aliases[root]
    return Target(module, True, (*more, *path))


def _texts(constants: Iterable[Any]) -> Iterator[str]:
    for each in constants:
        if isinstance(each, str):
            yield each
        elif isinstance(each, tuple | frozenset):
            yield from _texts(each)


class _Reader:
    """A reader of code for dotted names: those that are loaded, those that are stored to, and names of imports.

    Parameters
    ----------
    code
        The code.
    """

    def __init__(self, code: CodeType) -> None:
        self._code = code
        self.loaded: list[tuple[str, ...]] = []
        self.stored: list[tuple[str, ...]] = []
        self.aliases: dict[str, tuple[str, tuple[str, ...]]] = {}  # by name: a module, and a path from there
        self._chain: tuple[str, ...] = ()
        self._imported: tuple[str, tuple[str, ...]] | None = None  # what the next store binds
        self._module = ""

    def read(self) -> None:
        """Read all instructions."""
        for instruction in dis.get_instructions(self._code):
            name = instruction.opname
            if name not in ("NOP", "CACHE", "EXTENDED_ARG", "PUSH_NULL", "COPY", "DUP_TOP", "SWAP", "ROT_TWO"):
                self._step(name, instruction.argval)

    def _step(self, operation: str, argument: Any) -> None:
        if operation.startswith(_LOADS):  # LOAD_FAST has many variants, of which one loads two names
            self._set_chain((argument[-1] if isinstance(argument, tuple) else argument,))
        elif operation in _ATTRIBUTES and self._chain:
            self._set_chain((*self._chain, argument))
        elif operation in _STORES:
            self.stored += [(*self._chain, argument)] if self._chain else self._loaded_before(argument)
            self._chain = ()
        elif operation == "IMPORT_NAME":
            self._module, self._chain = argument, ()
            self._imported = argument.partition(".")[0], ()  # unless a name is imported from there: ``import a.b``
        elif operation == "IMPORT_FROM":
            self._imported = self._module, (argument,)
        elif operation.startswith(_BINDINGS) and self._imported is not None:
            bound = argument[0] if isinstance(argument, tuple) else argument
            self.aliases[bound] = self._imported
            self._chain = ()
        elif operation != "POP_TOP":
            self._chain, self._imported = (), None

    def _loaded_before(self, attribute: str) -> list[tuple[str, ...]]:
        """Return the dotted names with an attribute that were loaded: one is stored to in ``module.number += 1``."""
        return [chain for chain in self.loaded if len(chain) > 1 and chain[-1] == attribute]

    def _set_chain(self, chain: tuple[str, ...]) -> None:
        self._chain, self._imported = chain, None
        self.loaded.append(chain)


_of_process = Patches()
watch: Callable[[Iterable[CodeType], Mapping[str, Mapping[str, Any]]], None] = _of_process.watch
look_again: Callable[[], None] = _of_process.look_again
undo: Callable[[], None] = _of_process.undo
when_stored: Callable[[str, Callable[[], object]], None] = _of_process.when_stored
report_stores: Callable[[], None] = _of_process.report_stores
