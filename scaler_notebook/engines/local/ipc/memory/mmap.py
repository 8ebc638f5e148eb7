"""Memory mappings and addresses, by the C library.

Python's own ``mmap`` keeps a descriptor open for as long as the mapping lives (from Python 3.13 on that can be turned
off). With a mapping behind each array, a notebook would soon have no descriptors left.
"""

import ctypes
import mmap
import weakref
from typing import Any

FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_ssize_t,
)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


def map_privately(fd: int, size: int) -> "ctypes.Array[ctypes.c_char]":
    """Map a file, private and writable.

    The mapping is undone when the last view of the returned array is gone. The descriptor may be closed at once.

    Parameters
    ----------
    fd
        The descriptor of the file.
    size
        Bytes to map, from the beginning of the file.

    Raises
    ------
    OSError
        There is no room.
    """
    where = _libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE, fd, 0)
    if where == FAILED:
        raise OSError(ctypes.get_errno(), f"a buffer of {size} bytes cannot be mapped")
    array = (ctypes.c_char * size).from_address(where)
    # Not at exit: other finalizers may still read the array, and the system undoes the mapping anyhow.
    weakref.finalize(array, _libc.munmap, where, size).atexit = False
    return array


def equal(one: int, other: int, size: int) -> bool:
    """Return whether ``size`` bytes at two addresses are the same.

    Parameters
    ----------
    one, other
        The addresses.
    size
        How many bytes to compare.
    """
    return bool(_libc.memcmp(one, other, size) == 0)


class _PyBuffer(ctypes.Structure):
    """CPython's ``Py_buffer`` (PEP 3118), which alone gives the address of read-only memory."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def address(buffer: Any) -> int:
    """Return the address of the memory of an object that supports the buffer protocol."""
    view = _PyBuffer()
    api = ctypes.pythonapi
    api.PyObject_GetBuffer(ctypes.py_object(buffer), ctypes.byref(view), 0)
    try:
        return int(view.buf)
    finally:
        api.PyBuffer_Release(ctypes.byref(view))
