"""The pickler for objects that the standard pickler cannot pickle: cloudpickle's, extended for the call of a task."""

import contextlib
import functools
import io
import linecache
import pickle
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, CellType, CodeType, FunctionType
from typing import IO, Any, TypeVar

import cloudpickle

from scaler_notebook.protocol.exceptions import exception_parts, tracebacks

from . import definitions, reduced_slots, reduced_types, reducers, travelling_classes
from .cycles import calls, open_classes
from .importable import module_binding
from .loading import constructors, unpickling_context

PROTOCOL = 5

# The parameters of ``CodeType``, in their order: attributes of code objects, without the ``co_``.
_POSITION = "qualname firstlineno linetable exceptiontable" if sys.version_info >= (3, 11) else "firstlineno linetable"
_PARAMETERS = tuple(
    f"co_{name}"
    for name in (
        "argcount posonlyargcount kwonlyargcount nlocals stacksize flags code consts names varnames filename name "
        f"{_POSITION} freevars cellvars"
    ).split()
)


MAX_SOURCE = 100_000  # characters; the functions of a longer cell travel without source lines

_COMMON = frozenset({FunctionType, BuiltinFunctionType, type})  # frequent types, for which more_reducers is not asked

more_reducers: list[Callable[[Any], Any]] = []  # each returns NotImplemented, or what ``__reduce__`` would


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """A cloudpickle pickler that preserves file names of code, and pickles exceptions by parts.

    cloudpickle 3.1.3 and newer write ``<dynamic-code>`` for the file names, so that equal functions of several files
    pickle alike. Tracebacks, warnings, debuggers and ``inspect.getsource`` find the user's lines by the file names.

    Exceptions are pickled without calling their ``__init__`` when they are loaded, because the signature need not match
    ``args``.

    Parameters
    ----------
    file
        Receives the pickle.
    protocol
        The pickle protocol.
    buffer_callback
        As for ``pickle.Pickler``.
    postpones
        Whether objects that are needed to complete their own class are pickled behind the class. If not, such an object
        raises :class:`.OpenClassError`: see :func:`attempt`.
    """

    _defined: type | None = None  # the class whose definition is pickled

    def __init__(self, file: IO[bytes], protocol: int, buffer_callback: Any = None, *, postpones: bool = False) -> None:
        super().__init__(file, protocol, buffer_callback=buffer_callback)
        self._open_classes = open_classes.OpenClasses(postpones, _classes_within)
        self._empty_cells: dict[int, tuple[Any, calls.Call]] = {}  # by the id of a closure's cell, which is held
        self._sources: dict[str, str] = {}  # by file: one text each, which a pickle then holds once
        self._definitions: dict[int, definitions.Definition] = {}  # by the class's id: one for each class that returns

    def reducer_override(self, obj: Any) -> Any:
        """Reduce code and exceptions to their parts, and functions and classes to calls of :mod:`.constructors`."""
        kind = type(obj)
        if kind is CodeType:
            parameters = tuple(_unshared(getattr(obj, name)) for name in _PARAMETERS)
            source = self._source(obj.co_filename)
            return make_code, (source, parameters)
        if kind not in _COMMON:
            self._open_classes.check(kind)
            if issubclass(kind, BaseException) and not exception_parts.pickles_itself(kind):
                return exception_parts.reduced(obj, exception_parts.PartFilter())
            for reduce in more_reducers:
                if (own := reduce(obj)) is not NotImplemented:
                    return own
        if issubclass(kind, type) and obj is not self._defined and unpickling_context.comes_back(obj):
            return definitions.find, (_home(obj), self._definition(obj))
        reduced = reducers.reduce(obj)
        by_cloudpickle = reduced is NotImplemented
        if by_cloudpickle:
            reduced = super().reducer_override(obj)
        if not isinstance(reduced, tuple) or len(reduced) != 6:
            return reduced
        maker, arguments, state, _, _, setter = reduced
        home = _home(obj)
        if isinstance(obj, type) and by_cloudpickle:
            travelling_classes.mark_complete(obj)
            arguments = reduced_types.keep_typed_dict(obj, arguments)
            arguments, state = reduced_slots.keep_slots(obj, arguments, unpickling_context.state_to_send(obj, state))
            made_of = (home, _unshared(obj.__qualname__), travelling_classes.class_id(obj), maker, arguments)
            state = self._open_classes.class_state(obj, setter, state)
            return constructors.make_class, made_of, state, None, None, calls.no_state
        if isinstance(obj, FunctionType) and by_cloudpickle:
            state, setter = self._function_state(obj, state, setter)
        if home is not None:
            maker, arguments = constructors.make, (home, maker, arguments)
        return maker, arguments, state, None, None, setter

    def _function_state(self, function: FunctionType, state: Any, setter: Any) -> tuple[Any, Any]:
        """Return the state of a function, and what sets it, so that functions share the variables of their closures.

        Parameters
        ----------
        function
            The function.
        state, setter
            As cloudpickle has them.
        """
        if function.__closure__:
            attributes, slots = state
            state = attributes, {**slots, "__closure__": tuple(map(_content, function.__closure__))}
            setter = constructors.set_function_state
        return self._open_classes.function_state(function, state), setter

    def _definition(self, cls: type) -> definitions.Definition:
        """Return the definition of a class that came with the task's call, the same each time."""
        found = self._definitions.get(id(cls))
        if found is None:
            reduce = functools.partial(_definition_pickle, cls, self._definition)
            found = self._definitions[id(cls)] = definitions.Definition(travelling_classes.class_id(cls), reduce)
        return found

    def forget_definitions(self) -> None:
        """Let the definitions, which stay in the memo, not refer to this pickler: it would keep what it pickled."""
        for definition in self._definitions.values():
            definition.let_go()

    def _source(self, file: str) -> str:
        """Return the source text of a file that is not on disk, such as a notebook's cell; empty for other files."""
        found = self._sources.get(file)
        if found is None:
            lines = source_lines(file)
            found = self._sources[file] = "".join(lines) if sum(map(len, lines)) <= MAX_SOURCE else ""
        return found

    def _function_getnewargs(self, func: Any) -> Any:
        """Return what a function that travels by value is made from.

        The functions of a module share the module's namespace where they arrive, and functions that were made together
        the variables of their closures.
        """
        names = func.__globals__
        if id(names) not in self.globals_ref:
            module = names.get("__name__")
            if isinstance(module, str) and (found := sys.modules.get(module)) is not None and vars(found) is names:
                self.globals_ref[id(names)] = constructors.Namespace(_unshared(module))
        made_of = super()._function_getnewargs(func)
        return (*made_of[:-1], tuple(map(self._empty_cell, func.__closure__))) if func.__closure__ else made_of

    def _empty_cell(self, cell: Any) -> calls.Call:
        """Return a call that makes a closure's cell without its value, the same for the same cell."""
        if id(cell) not in self._empty_cells:
            self._empty_cells[id(cell)] = cell, calls.Call(CellType)
        return self._empty_cells[id(cell)][1]


class _DefinitionPickler(Pickler):
    """A pickler of one class's definition, in which other classes that came with the task's call are numbers."""

    def __init__(
        self, file: IO[bytes], cls: type, definition: Callable[[type], definitions.Definition], postpones: bool
    ) -> None:
        super().__init__(file, PROTOCOL, postpones=postpones)
        self._defined = cls
        self._get_definition = definition
        self.needed: dict[int, definitions.Definition] = {}  # by the class's id, in the order of their numbers

    def persistent_id(self, obj: Any) -> int | None:
        """Return the number of a class's definition among those needed; None for any other object."""
        if not issubclass(type(obj), type) or obj is self._defined or not unpickling_context.comes_back(obj):
            return None
        self.needed.setdefault(id(obj), self._get_definition(obj))
        return list(self.needed).index(id(obj))


def _definition_pickle(
    cls: type, definition: Callable[[type], definitions.Definition]
) -> tuple[bytes, list[definitions.Definition]]:
    """Return the pickle of a class's definition, and the definitions that its persistent ids number.

    Parameters
    ----------
    cls
        The class.
    definition
        Returns the definition of another class.
    """

    def dump(postpones: bool) -> tuple[bytes, list[definitions.Definition]]:
        with io.BytesIO() as file:
            own = _DefinitionPickler(file, cls, definition, postpones)
            own.dump(cls)
            return file.getvalue(), list(own.needed.values())

    return attempt(dump)


class _ClassFinder(Pickler):
    """A pickler that notes the classes of the objects that it pickles, and pickles no functions and classes."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, PROTOCOL, buffer_callback=lambda _: False)
        self.found: set[int] = set()

    def persistent_id(self, obj: Any) -> int | None:
        """Return a number for a function or a class, which is pickled in the place of these; None for other objects."""
        return 0 if type(obj) is FunctionType or issubclass(type(obj), type) else None

    def reducer_override(self, obj: Any) -> Any:
        """Note the class of an object and its base classes."""
        self.found.update(map(id, type(obj).__mro__))
        return super().reducer_override(obj)


def _classes_within(value: Any) -> frozenset[int]:
    """Return the ids of the classes, base classes included, of the objects within a value."""
    finder = _ClassFinder(io.BytesIO())
    with contextlib.suppress(Exception):  # whoever pickles the value will meet it
        finder.dump(value)
    return frozenset(finder.found)


def _content(cell: Any) -> tuple[Any, ...]:
    """Return the value of a closure's cell, as a tuple of one item; an empty tuple for an empty cell."""
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def source_lines(file: str) -> list[str]:
    """Return the source lines of a file that is not on disk, such as a notebook's cell; none for other files."""
    entry = linecache.cache.get(file, ())
    return entry[2] if len(entry) == 4 and entry[1] is None else []  # without a time: it is no file


def make_code(source: str, parameters: tuple[Any, ...]) -> CodeType:
    """Make a code object, and cache its source for ``inspect.getsource``, warnings and debuggers. Called by pickles.

    Parameters
    ----------
    source
        The text of the code's file; empty for a file that is on disk.
    parameters
        The arguments of ``CodeType``.
    """
    code = CodeType(*parameters)
    unpickling_context.note_code(code)
    if source and code.co_filename not in linecache.cache:
        tracebacks.cache_source(code.co_filename, source)
    return code


Dumped = TypeVar("Dumped")


def attempt(dump: Callable[[bool], Dumped]) -> Dumped:
    """Return what a function returns that pickles something.

    Parameters
    ----------
    dump
        Called with what :class:`Pickler` has as ``postpones``; a second time, if the first raises
        :class:`.OpenClassError`.
    """
    try:
        return dump(False)
    except open_classes.OpenClassError:
        return dump(True)


def dumps(value: Any, buffer_callback: "Callable[[], Callable[[pickle.PickleBuffer], Any]] | None" = None) -> bytes:
    """Pickle a value: definitions of the notebook by value, definitions of modules by reference.

    Parameters
    ----------
    value
        Any Python object.
    buffer_callback
        Returns what is called with each buffer that can travel out of band; a false result takes it out. Called before
        each of one or two attempts to pickle the value.

    Raises
    ------
    Exception
        Whatever the value's own pickling raises.
    """

    def dump(postpones: bool) -> bytes:
        callback = buffer_callback() if buffer_callback is not None else None
        with io.BytesIO() as file:
            own = Pickler(file, PROTOCOL, callback, postpones=postpones)
            try:
                own.dump(value)
            finally:
                own.forget_definitions()
            return file.getvalue()

    return attempt(dump)


def _home(value: Any) -> tuple[str, str] | None:
    """Return the module and the name to which an object is bound; None for none."""
    found = module_binding(value)
    return (_unshared(found[0]), _unshared(found[1])) if found is not None else None


def _unshared(part: Any) -> Any:
    """Return a text or tuple as an equal but different object; return anything else as it is.

    A pickle refers back to an object that occurs again. Which equal texts are one object depends on where they came
    from, but a function has to give the same bytes each time, because it travels once for each content.
    """
    if isinstance(part, str):
        return "".join(part) if len(part) > 1 else part
    if isinstance(part, tuple):
        return (*part,)
    return part
