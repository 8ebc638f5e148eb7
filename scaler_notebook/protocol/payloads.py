"""Conversion of Python values to payloads and back: pickle protocol 5, with large buffers out of band."""

import contextlib
import functools
import io
import pickle
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import cloudpickle

from scaler_notebook.wording import with_article

from .errors import TaskSerializationError
from .messages import Buffer, Payload, SegmentRef
from .pickling import pickler, reduced_arrays, references
from .twins import maker

OUT_OF_BAND = 16 * 1024  # bytes; for less, a frame of its own costs more than the copy into the pickle
PLAIN = type(None), bool, int, float, str, bytes  # the standard pickler's own business, whatever is in it
MAX_SEARCH = 10_000  # objects looked at to explain an error, so that a huge argument does not take for ever
_dumps = pickle.dumps  # whatever a task may have put in its place
_new_payload = maker(Payload)


def dump(value: Any) -> Payload:
    """Pickle a value: definitions of the notebook by value, definitions of modules by reference.

    Modules that were given to ``cloudpickle.register_pickle_by_value`` count as the notebook.

    The C pickler pickles a function or an instance of a class of ``__main__`` without error, by reference, and the task
    process then finds nothing under that name. So a pickle that looks up such a name is made again by cloudpickle. The
    text alone is no such name: Python's own filters of warnings have it, which scikit-learn sends with each call.

    Raises
    ------
    PicklingError
        The pickle still refers to something in ``__main__``, so it could not be loaded.
    Exception
        Whatever the value's own pickling raises.
    """
    if type(value) in PLAIN:
        return dump_plain(value)
    buffers: list[Buffer] = []
    try:
        data = _plain(value, out_of_band(buffers))
        by_value = cloudpickle.list_registry_pickle_by_value()
        travels_by_value = any(name.encode() in data for name in by_value) if by_value else False
        if not travels_by_value and references.is_free_of_main(data, buffers):
            return _new_payload(data, tuple(buffers))
    except Exception:  # lambdas, local classes: cloudpickle's business, as is the error if it cannot either
        pass
    data = pickler.dumps(value, functools.partial(out_of_band, buffers))
    if names := references.names_of_main(data, buffers):
        raise pickle.PicklingError(f"it is found as {names[0]} in __main__, which tasks do not share with the notebook")
    return Payload(data, tuple(buffers))


def dump_plain(value: Any) -> Payload:
    """Pickle a value of one of the types :data:`PLAIN`, or tuples and dictionaries that hold nothing else."""
    return _new_payload(_dumps(value, pickler.PROTOCOL), (), b"")


def out_of_band(buffers: list[Buffer]) -> Callable[[pickle.PickleBuffer], bool]:
    """Return a ``buffer_callback`` for a pickler that moves large buffers into a list.

    Parameters
    ----------
    buffers
        Receives the buffers, in order; what is in it is removed first.
    """
    buffers.clear()

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous: only the pickler itself can lay it out
            return True
        if raw.nbytes < OUT_OF_BAND:
            return True
        buffers.append(raw)
        return False

    return keep_in_band


def _plain(value: Any, buffer_callback: Callable[[pickle.PickleBuffer], bool]) -> bytes:
    """Pickle a value with the standard pickler.

    The data of libraries that pickle their arrays in band goes out of band all the same
    (:mod:`.pickling.reduced_arrays`).

    Parameters
    ----------
    value
        The value.
    buffer_callback
        As for ``pickle.dumps``.
    """
    if (table := reduced_arrays.dispatch_table()) is None:
        return pickle.dumps(value, pickler.PROTOCOL, buffer_callback=buffer_callback)
    with io.BytesIO() as file:
        plain = pickle.Pickler(file, pickler.PROTOCOL, buffer_callback=buffer_callback)
        plain.dispatch_table = table
        plain.dump(value)
        return file.getvalue()


def load(payload: Payload) -> Any:
    """Return the value of a payload. This runs code that the payload names, so its sender must be authenticated."""
    return pickle.loads(payload.data, buffers=payload.buffers)


def copied(payload: Payload) -> Payload:
    """Return a payload that no longer refers to the memory of the value that it was made from."""
    if not payload.buffers:
        return payload
    return replace(payload, buffers=tuple(b if isinstance(b, SegmentRef) else bytearray(b) for b in payload.buffers))


def serialization_error(what: str, value: Any, cause: BaseException) -> TaskSerializationError:
    """Return the error for a value that :func:`dump` refused, with the innermost attribute that cannot be pickled.

    Parameters
    ----------
    what
        The value as its owner reads it, e.g. ``argument 'model' of fit``.
    value
        The value.
    cause
        The exception that :func:`dump` raised.
    """
    path, culprit = _innermost(what, value)
    kind = f"{type(culprit).__module__}.{type(culprit).__qualname__}"
    where = f"{what} cannot be pickled" if path == what else f"{what} cannot be pickled because of {path}"
    return TaskSerializationError(f"{where} ({with_article(kind)}): {cause}. {_advice(culprit)}")


def _advice(culprit: Any) -> str:
    """Return what to do about an object that cannot be pickled."""
    kind = type(culprit)  # isinstance would look at a proxy, which may stand for nothing
    if kind is types.CoroutineType:
        return f"It runs where it was made: submit its function, and the arguments: submit({culprit.__name__}, ...)."
    if kind in (types.GeneratorType, types.AsyncGeneratorType):
        return "It is read where it was made: make a list of it, or have submit_stream send its items."
    return (
        "Tasks run in other processes: pass data that can be copied, and open files, locks and connections inside the "
        "task."
    )


def _innermost(path: str, value: Any) -> tuple[str, Any]:
    """Return the path and the object of the innermost part of a value that cannot be pickled."""
    budget = MAX_SEARCH
    seen: set[int] = set()
    while True:
        for step, child in _readable_children(value):
            budget -= 1
            if budget < 0:
                return path, value
            if id(child) not in seen and not _picklable(child):
                seen.add(id(child))
                path, value = path + step, child
                break
        else:
            return path, value


def _readable_children(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the same as :func:`_children`, up to what raises when it is looked at: a proxy that stands for nothing."""
    with contextlib.suppress(Exception):
        yield from _children(value)


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a value that are pickled with it, each with its step of the path."""
    if isinstance(value, dict):
        yield from ((f"[{key!r:.40}]", child) for key, child in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{i}]", child) for i, child in enumerate(value))
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
    elif isinstance(value, functools.partial):
        yield ".func", value.func
        yield ".args", value.args
        yield ".keywords", value.keywords
    elif closure := getattr(value, "__closure__", None):
        for name, cell in zip(value.__code__.co_freevars, closure, strict=True):
            with contextlib.suppress(ValueError):  # a variable without a value
                yield f" → closure variable {name!r}", cell.cell_contents
    if isinstance(value, types.FunctionType):
        code = value.__code__
        scope = value.__globals__
        yield from ((f" → global {name!r}", scope[name]) for name in code.co_names if name in scope)
    elif isinstance(value, type):
        if value.__module__ == "__main__":
            yield from (
                (f".{name}", child) for name, child in vars(value).items() if name not in ("__dict__", "__weakref__")
            )
    elif isinstance(attributes := getattr(value, "__dict__", None), dict):
        yield from ((f".{name}", child) for name, child in attributes.items())
    if isinstance(value, classmethod | staticmethod):
        yield ".__func__", value.__func__
    elif isinstance(value, property):
        yield ".fget", value.fget
    elif type(value).__module__ == "__main__":
        yield " → its class", type(value)
    for name in (name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ()) if hasattr(value, name)):
        yield f".{name}", getattr(value, name)


def _picklable(value: Any, dumps: Callable[[Any], Payload] = dump) -> bool:
    try:
        dumps(value)
    except Exception:
        return False
    return True
