"""The attributes and items that the code of a task replaces in modules: put back when the task has ended.

Comparing all attributes of all modules would take milliseconds after each task. So the code that came with a call is
looked through for what it may replace (:mod:`.attribute_stores`) before the task begins, and this is compared when the
task has ended. What an import or a library changes by itself, for example when it is first used, stays.
"""

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from scaler_notebook.protocol.pickling import travelling_classes
from scaler_notebook.task.calls.chunk import ChunkCall
from scaler_notebook.task.calls.generator import GeneratorCall

from .attribute_stores import attribute_stores, dotted_targets, may_store
from .code_reader import DottedName
from .watched import CONTAINERS, WatchedAttributes, WatchedItems, WatchedModules, attributes_of

_CONTAINERS = (list, tuple, set, frozenset, dict)
MAX_ITEMS, MAX_VALUES = 100, 1000  # in a container, and in all; what is beyond is not looked at


class Patches:
    """The attributes and items that the current task may replace, as they were before the task."""

    def __init__(self) -> None:
        self._when_stored: dict[str, Callable[[], object]] = {}
        self._forget()

    def _forget(self) -> None:
        self._stored: set[str] = set()  # those of the names of when_stored that the current task's code stores to
        self._targets: dict[tuple[DottedName, str], None] = {}  # those not found yet: an object, and an attribute
        self._containers: dict[DottedName, None] = {}  # those not found yet, whose items may be replaced
        self._codes: list[CodeType] = []  # that whose mentioned objects are not among these yet:
        self._owners: dict[DottedName, None] = {}  # those not found yet, whose attributes may be these:
        self._names: set[str] = set()  # attributes of objects that the code does not name
        self._by_name = False  # may there be others, whose names are not known?
        self._namespaces: Mapping[str, Mapping[str, Any]] = {}
        self._values: list[Any] = []
        self._watched: dict[int, WatchedAttributes | WatchedItems | WatchedModules] = {}  # by the object's id
        self._watches = False  # may the current task's code replace anything at all?

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

    def watch(
        self, codes: Iterable[CodeType], namespaces: Mapping[str, Mapping[str, Any]], values: Iterable[Any] = ()
    ) -> None:
        """Note the values of the attributes that some code may replace.

        Parameters
        ----------
        codes
            The code that has come with the call of a task.
        namespaces
            The namespaces of its functions, by module.
        values
            The function, and its arguments.
        """
        codes = [*codes]
        storing = [code for code in codes if may_store(code)]
        if not storing:
            return
        self._watches = True
        for code in storing:
            self._stored.update(name for name in self._when_stored if name in code.co_names)
            stores = attribute_stores(code)
            self._targets.update(dict.fromkeys(stores.exact))
            self._containers.update(dict.fromkeys(stores.items))
            self._names |= stores.names
            self._by_name |= stores.by_name
        if any("modules" in code.co_names or "sys.modules" in code.co_consts for code in storing):
            self._watched[id(sys.modules)] = WatchedModules()
        if not (self._targets or self._containers or self._names or self._by_name):
            return
        self._namespaces, self._values = namespaces, [*values]
        if any(code.co_freevars for code in storing):
            self._namespaces = {**namespaces, "": self._closures()}
        if self._by_name:
            self._note_texts(codes)
        self._codes = codes
        self.look_again()

    def _note_texts(self, codes: Iterable[CodeType]) -> None:
        """Note the attributes that texts may name: those in code, in the values of names, and in the arguments."""
        for code in codes:
            self._names |= attribute_stores(code).texts
        for text in [each for each in self._reachable() if type(each) is str]:
            if text.isidentifier():
                self._names.add(text)
            elif text.replace(".", "").isidentifier():
                self._targets.update(dict.fromkeys(dotted_targets(text)))

    def _closures(self) -> dict[str, Any]:
        """Return the variables of enclosing functions that functions of the call refer to."""
        found: dict[str, Any] = {}
        for each in [each for each in self._reachable() if type(each) is FunctionType]:
            for name, cell in zip(each.__code__.co_freevars, each.__closure__ or (), strict=True):
                found.update((name, value) for value in _content(cell))
        return found

    def look_again(self) -> None:
        """Note the values of attributes of modules that have been imported meanwhile, and of names bound meanwhile."""
        for target in [*self._targets]:
            name, attribute = target
            if not name.is_module and all(name.root not in names for names in self._namespaces.values()):
                self._names.add(attribute)  # the code itself binds the name, to who knows what
            elif (owner := self._find(name)) is not None:
                del self._targets[target]
                self._watch(owner, (attribute,))
        for name in [*self._containers]:
            if type(found := self._find(name)) in CONTAINERS and name.root != "sys":  # these are settings
                self._watched.setdefault(id(found), WatchedItems(found))
                del self._containers[name]
        if self._names or self._by_name:
            while self._codes:
                self._owners.update(dict.fromkeys(attribute_stores(self._codes.pop()).mentioned))
            for name in [*self._owners]:
                if (owner := self._find(name)) is not None:
                    del self._owners[name]
                    self._watch_unnamed(owner)
            for value in self._reachable():
                self._watch_unnamed(value)

    def _watch(self, owner: Any, names: Iterable[str]) -> WatchedAttributes:
        found = self._watched.get(id(owner))
        if not isinstance(found, WatchedAttributes):
            found = self._watched[id(owner)] = WatchedAttributes(owner)
        found.watch(names)
        return found

    def _watch_unnamed(self, owner: Any) -> None:
        """Note the values of all attributes that the code may replace without naming the object."""
        kind = type(owner)  # and not isinstance, which asks a proxy for what it stands for
        is_class = issubclass(kind, type) and vars(owner).get("__module__") and not travelling_classes.travels(owner)
        if is_class or issubclass(kind, ModuleType):
            watched = self._watch(owner, self._names)
            if self._by_name:
                watched.watch_all()

    def _find(self, name: DottedName) -> Any:
        """Return a named object without running any code; None if there is none, or it belongs to the task alone."""
        if name.is_module:
            found: Any = sys.modules.get(name.root)
        else:
            found = next((names[name.root] for names in self._namespaces.values() if name.root in names), None)
            if not issubclass(type(found), ModuleType | type):
                return None
        for attribute in name.path:
            found = _attribute(found, attribute)
        return found

    def _reachable(self) -> Iterator[Any]:
        """Yield the values that the call has brought, their types, and what is in those that are the notebook's."""
        waiting = [*self._values, *(value for names in self._namespaces.values() for value in names.values())]
        seen: set[int] = set()
        for each in waiting:  # grows meanwhile
            if id(each) not in seen and len(seen) < MAX_VALUES:
                seen.add(id(each))
                yield each
                yield type(each)
                waiting += _parts(each)

    def accept(self, begins: bool) -> None:
        """Accept what changes from a call with True until the next call with False, such as by an import."""
        for each in self._watched.values():
            each.accept(begins)
        if not begins:
            self.look_again()

    def undo(self) -> None:
        """Restore the attributes that have been replaced, and forget all."""
        if not self._watches:
            return
        for each in reversed(self._watched.values()):
            with suppress(Exception):
                each.restore(self._is_of_task)
        self._forget()

    def _is_of_task(self, value: Any) -> bool:
        kind = type(value)
        if issubclass(kind, type):
            return travelling_classes.travels(value) or vars(value).get("__module__") == "__main__"
        if kind is MethodType:
            value = value.__func__
        if type(value) is FunctionType:
            return any(value.__globals__ is names for names in self._namespaces.values())
        return kind.__module__ == "unittest.mock"


def _attribute(owner: Any, name: str) -> Any:
    attributes = attributes_of(owner)
    found = attributes.get(name)
    if found is None and issubclass(type(owner), ModuleType):
        return sys.modules.get(f"{attributes.get('__name__')}.{name}")
    return found


def _parts(value: Any) -> Iterable[Any]:
    """Return what is in a container, in a function, or in a class of the notebook's or one of its objects."""
    kind = type(value)
    if kind in _CONTAINERS:
        if len(value) > MAX_ITEMS:
            return ()
        return [*value, *value.values()] if kind is dict else value
    if kind is FunctionType:
        return [content for cell in value.__closure__ or () for content in _content(cell)]
    if kind is MethodType:
        return value.__self__, value.__func__
    if kind is functools.partial:
        return value.func, value.args, value.keywords
    if kind in (ChunkCall, GeneratorCall):
        return (value.func,)
    own = value if issubclass(kind, type) else kind
    return [*vars(own).values(), *attributes_of(value).values()] if travelling_classes.travels(own) else ()


def _content(cell: CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:  # nothing was bound
        return ()


def _guarded(method: Callable[..., None]) -> Callable[..., None]:
    """Return a function that raises nothing: no object of a task's may end the task because it was looked at."""

    @functools.wraps(method)
    def call(*args: Any) -> None:
        try:  # suppress() would be called for each task
            method(*args)
        except Exception:
            return

    return call


_of_process = Patches()
watch = _guarded(_of_process.watch)
look_again = _guarded(_of_process.look_again)
accept = _guarded(_of_process.accept)
undo = _guarded(_of_process.undo)
when_stored: Callable[[str, Callable[[], object]], None] = _of_process.when_stored
report_stores: Callable[[], None] = _of_process.report_stores
