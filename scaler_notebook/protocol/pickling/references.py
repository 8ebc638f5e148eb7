"""The names of ``__main__`` that a pickle refers to, found without running what the pickle says."""

import functools
import io
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

SMALL = 16 * 1024  # bytes; the names in a pickle up to this size are cached, because functions come again and again


def names_of_main(data: bytes, buffers: Sequence[Any] = ()) -> tuple[str, ...]:
    """Return the names that a pickle looks up in ``__main__`` when it is loaded.

    A text ``__main__``, such as a function's ``__module__``, looks nothing up. A pickle that cannot be read gives no
    names.

    Parameters
    ----------
    data
        The pickle.
    buffers
        The out-of-band buffers.
    """
    if b"__main__" not in data:
        return ()
    if len(data) <= SMALL and not buffers:
        return _remembered(data)
    return _names(data, buffers)


def is_free_of_main(data: bytes, buffers: Sequence[Any]) -> bool:
    """Return whether a pickle is known to look up nothing in ``__main__``; one that cannot be read is not.

    Parameters
    ----------
    data
        The pickle.
    buffers
        The out-of-band buffers.
    """
    if b"__main__" not in data:
        return True
    try:
        _StrictReader(io.BytesIO(data), buffers=buffers).load()
    except Exception:
        return False
    return True


def _names(data: bytes, buffers: Sequence[Any] = ()) -> tuple[str, ...]:
    reader = _Reader(io.BytesIO(data), buffers=buffers)
    reader.names = {}
    try:
        reader.load()
    except Exception:
        return ()
    return tuple(reader.names)


_remembered = functools.lru_cache(maxsize=256)(_names)


class _MetaAnything(type):
    """The metaclass of :class:`_Anything`: calling, filling or iterating over that class has no effect."""

    def __call__(cls, *_: Any, **__: Any) -> Any:
        return cls

    def __setitem__(cls, _: Any, __: Any) -> None:
        pass

    def __iter__(cls) -> Iterator[Any]:
        return iter(())


class _Anything(metaclass=_MetaAnything):
    """A stand-in for all that a pickle names, and for all that is made from that; some of it has to be a class."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return cls

    __setstate__ = extend = append = add = update = staticmethod(id)  # takes an object, and is quick


class _Reader(pickle.Unpickler):
    """An unpickler that notes which names a pickle looks up in ``__main__``."""

    names: dict[str, None]

    def find_class(self, module: str, name: str) -> Any:
        """Note a name of ``__main__``. Nothing is looked up, so nothing is imported and no other code runs."""
        if module == "__main__":
            self.names[name] = None
        return _Anything


class _StrictReader(pickle.Unpickler):
    """An unpickler that ends at the first name which a pickle looks up in ``__main__``."""

    def find_class(self, module: str, name: str) -> Any:
        """Raise a LookupError for a name of ``__main__``; nothing is looked up."""
        if module == "__main__":
            raise LookupError(name)
        return _Anything
