"""Reading of code for the objects that it names, and for those whose attributes and items it stores."""

import dis
from collections.abc import Iterator
from types import CodeType
from typing import Any, NamedTuple

_STORES = ("STORE_ATTR", "DELETE_ATTR")
_ITEM_STORES = ("STORE_SUBSCR", "DELETE_SUBSCR")
STORE_CODES = bytes(dis.opmap[name] for name in (*_STORES, *_ITEM_STORES))
_CALLS = frozenset({"setattr", "delattr", "vars", "__setattr__", "__delattr__"})  # given an object
_PATCHERS = frozenset({"patch", "monkeypatch", "MonkeyPatch"})  # of unittest.mock, pytest and pandas
_OF_DICT = {"clear", "pop", "popitem", "setdefault", "update"}
_OF_LIST = {"append", "extend", "insert", "remove", "reverse", "sort"}
_OF_SET = {"add", "discard", "difference_update", "intersection_update", "symmetric_difference_update"}
_CHANGES = frozenset(_OF_DICT | _OF_LIST | _OF_SET)  # methods that change the items
STORE_NAMES = _CALLS | _PATCHERS | _CHANGES | {"__dict__"}
_OWN = "self"  # an object of a class of the notebook's, which ends with the task
_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME")
_LOCALS = ("LOAD_FAST", "LOAD_DEREF", "LOAD_CLASSDEREF")  # LOAD_FAST has many variants, of which one loads two names
_BINDINGS = ("STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
_OF_STACK = {"COPY", "DUP_TOP", "DUP_TOP_TWO", "SWAP", "ROT_TWO", "ROT_THREE", "POP_TOP"}
_SKIPPED = frozenset({"NOP", "CACHE", "EXTENDED_ARG", "PUSH_NULL"} | _OF_STACK)
_NO_CALL, _CALLED, _HAS_OBJECT = range(3)  # of one of _CALLS: what comes next is its object; that was loaded
_SUBSCRIPT = 26  # in Python 3.14 it is an operation like others


class DottedName(NamedTuple):
    """An object, as some code names it.

    Parameters
    ----------
    root
        The name of the first object: that of a module if ``is_module``, else a name in the code's namespace.
    is_module
        Whether the root is a module that the code imports by itself, or part of a text.
    path
        The names of the attributes that lead from the root to the object.
    """

    root: str
    is_module: bool
    path: tuple[str, ...] = ()


class CodeReader:
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
        self.containers: list[tuple[str, ...]] = []  # whose items are stored
        self.names: set[str] = set()  # attributes that are stored to objects without a name
        self.by_name = False
        self._imports: dict[str, list[tuple[str, tuple[str, ...]]]] = {}  # by name: modules, and paths from there
        self._bound: set[str] = set()  # other names that the code binds, or gets as arguments
        self._chain: tuple[str, ...] = ()
        self._before: tuple[str, ...] = ()  # the chain before this one: a container, if this is a key
        self._item_of: tuple[str, ...] = ()  # the container of the item that was loaded last
        self._imported: tuple[str, tuple[str, ...]] | None = None  # what the next store binds
        self._module = ""
        self._wants_names = False  # is it ``from module import name``?
        self._constant: Any = None  # the last one loaded
        self._call = _NO_CALL

    def read(self) -> None:
        """Read all instructions."""
        for instruction in dis.get_instructions(self._code):
            if instruction.opname not in _SKIPPED:
                self._step(instruction.opname, instruction.argval)

    def named(self, chain: tuple[str, ...]) -> Iterator[DottedName]:
        """Yield the objects that a chain of names may mean."""
        root, *path = chain
        for module, more in self._imports.get(root, ()):
            yield DottedName(module, True, (*more, *path))
        if root not in self._imports and root not in self._bound:
            yield DottedName(root, False, (*path,))

    def _step(self, operation: str, argument: Any) -> None:
        if self._call == _CALLED:
            self._call = _HAS_OBJECT
        elif self._call == _HAS_OBJECT and operation not in _ATTRIBUTES:
            self._end_call()
        if operation.startswith(_GLOBALS):
            self._load((argument,))
        elif operation.startswith(_LOCALS):
            self._load_locals(argument if isinstance(argument, tuple) else (argument,))
        elif operation in _ATTRIBUTES:
            self._load((*self._chain, argument), is_attribute=True)
        elif operation in _STORES:
            self._store(argument)
        elif operation in _ITEM_STORES:
            if container := self._before or self._item_of:
                self.containers.append(container)
            self._set_chain(())
        elif operation == "BINARY_SUBSCR" or (operation == "BINARY_OP" and argument == _SUBSCRIPT):
            self._item_of = self._before or self._item_of
            self._set_chain(())
        elif operation == "IMPORT_NAME":
            self._module, self._wants_names, self._chain = argument, self._constant is not None, ()
            self._imported = argument.partition(".")[0], ()  # unless a name is imported from there
        elif operation == "IMPORT_FROM":
            before = self._imported[1] if self._imported is not None else ()
            names = self._wants_names
            self._imported = (self._module, (argument,)) if names else (self._package, (*before, argument))
        elif operation == "STORE_FAST_LOAD_FAST":
            self._bind(argument[0])
            self._load_locals(argument[1:])
        elif operation.startswith(_BINDINGS):
            self._bind(*(argument if isinstance(argument, tuple) else (argument,)))
        else:
            self._set_chain(())
            self._constant = argument

    @property
    def _package(self) -> str:
        return self._module.partition(".")[0]

    def _load(self, chain: tuple[str, ...], is_attribute: bool = False) -> None:
        """Note that an object is loaded.

        Parameters
        ----------
        chain
            The names of the object, and those of the attributes that lead to it.
        is_attribute
            Whether the last name is an attribute's. Alone it is one of an object without a name.
        """
        name, is_own = chain[-1], len(chain) == 2 and chain[0] == _OWN
        if name in _PATCHERS or (name == "__dict__" and not is_own):
            self.by_name = True
        if is_attribute and len(chain) == 1:
            self._set_chain(())
            return
        if is_attribute:
            self._chain, self._imported = chain, None
            if name in _CHANGES:
                self.containers.append(chain[:-1])
        else:
            self._set_chain(chain)
        self.loaded.append(chain)
        if name in _CALLS and not is_own:
            self._call = _CALLED

    def _set_chain(self, chain: tuple[str, ...]) -> None:
        self._before, self._chain, self._imported = self._chain, chain, None

    def _load_locals(self, names: tuple[str, ...]) -> None:
        self._bound.update(name for name in names if name not in self._code.co_freevars)
        for name in names:
            if self._call == _HAS_OBJECT and self._chain != (name,) and len(names) > 1 and name is not names[0]:
                self._end_call()
            self._load((name,))

    def _end_call(self) -> None:
        """Note a call of one of the functions that are given an object, by the names of that object."""
        self._call = _NO_CALL
        if len(self._chain) != 1 or self._chain[0] != _OWN:
            self.by_name = True

    def _store(self, attribute: str) -> None:
        """Note that an attribute is stored. Without names of the object it may be as in ``module.number += 1``."""
        chains = (
            [self._chain]
            if self._chain
            else [each[:-1] for each in self.loaded[:] if each[1:] and each[-1] == attribute]
        )
        for chain in chains:
            if chain == (_OWN,):
                continue
            if chain[0] in self._bound and chain[0] not in self._imports:
                self.names.add(attribute)
            else:
                self.stored.append((*chain, attribute))
        if not chains:
            self.names.add(attribute)
        self._chain = ()

    def _bind(self, *names: str) -> None:
        for name in names:
            if self._imported is None:
                self._bound.add(name)
            else:
                self._imports.setdefault(name, []).append(self._imported)
                self.loaded.append((name,))
        self._chain, self._imported = (), None
