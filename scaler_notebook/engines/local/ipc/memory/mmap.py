"""Memory mappings and addresses, by the C library.

Python's own ``mmap`` keeps a descriptor open for as long as the mapping lives (from Python 3.13 on that can be turned
off). With a mapping behind each array, a notebook would soon have no descriptors left.
"""

import _thread
import ctypes
import functools
import mmap
import os
import weakref
from collections.abc import Callable
from typing import Any, TypeAlias

FAILED = ctypes.c_void_p(-1).value
POPULATE_READ = 22  # Linux's MADV_POPULATE_READ
PAGE = mmap.PAGESIZE
ENTRY = 8  # bytes in the page table, by page
LARGE = 8 * 1024 * 1024  # bytes; for less another thread is not worth the 50 microseconds that it takes
PAGES_AT_ONCE = 4096  # so that of a large array that was written to little is looked at

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
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_libc.memcpy.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)

Mapping: TypeAlias = "ctypes.Array[ctypes.c_char]"
Buffer: TypeAlias = Any  # an object that supports the buffer protocol


def map_privately(fd: int, size: int) -> Mapping:
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
    return _map(fd, size, mmap.MAP_PRIVATE)


def map_shared(fd: int, size: int) -> Mapping:
    """Map a file so that what is written to the mapping is written to the file; otherwise as :func:`map_privately`.

    Parameters
    ----------
    fd
        The descriptor of the file, open for writing.
    size
        Bytes to map, from the beginning of the file.

    Raises
    ------
    OSError
        There is no room.
    """
    return _map(fd, size, mmap.MAP_SHARED)


def _map(fd: int, size: int, flags: int) -> Mapping:
    """Map a file, readable and writable.

    Parameters
    ----------
    fd, size
        As for :func:`map_privately`.
    flags
        As mmap(2) has them.
    """
    where = _libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, fd, 0)
    if where == FAILED:
        raise OSError(ctypes.get_errno(), f"a buffer of {size} bytes cannot be mapped")
    array: Mapping = (ctypes.c_char * size).from_address(where)
    # Not at exit: other finalizers may still read the array, and the system undoes the mapping anyhow.
    weakref.finalize(array, _libc.munmap, where, size).atexit = False
    return array


def populate(mapping: Mapping) -> None:
    """Have the system enter all pages of a mapped file into the page table at once, which costs a third of the faults.

    Where it cannot (before Linux 5.14), they are entered at their first use.
    """
    _libc.madvise(ctypes.addressof(mapping), len(mapping), POPULATE_READ)


def copy(source: Buffer, mapping: Mapping, size: int) -> None:
    """Copy bytes to the beginning of a mapping; other threads go on meanwhile.

    Parameters
    ----------
    source
        The bytes.
    mapping
        The mapping.
    size
        How many bytes to copy.
    """
    _in_parts(_libc.memcpy, mapping, source, min(size, len(mapping)))


def equal(one: Buffer, other: Buffer, size: int) -> bool:
    """Return whether the first ``size`` bytes of two buffers are the same.

    Parameters
    ----------
    one, other
        The buffers.
    size
        How many bytes to compare.
    """
    return not any(_in_parts(_libc.memcmp, one, other, size))


def _in_parts(function: Callable[[int, int, int], int], one: Buffer, other: Buffer, size: int) -> list[int]:
    """Call a function of two addresses and a number of bytes, for large memory for both halves at the same time.

    A core alone does not read or write as fast as the memory allows.

    Parameters
    ----------
    function
        The function, which lets other threads go on.
    one, other
        The buffers.
    size
        How many bytes there are from the beginning of each.

    Returns
    -------
    list of int
        What the function has returned, for each part.
    """
    # After an interrupt of this thread the other one may go on, and has the memory by these.
    views = memoryview(one), memoryview(other)
    begins = address(views[0]), address(views[1])
    half = size // 2 // PAGE * PAGE if size >= LARGE and _has_two_cores() else 0
    results: list[int] = []
    done = _thread.allocate_lock()

    def call_for_half(_: tuple[memoryview, memoryview]) -> None:
        results.append(function(*begins, half))
        done.release()

    if half:
        done.acquire()
        try:
            _thread.start_new_thread(call_for_half, (views,))
        except RuntimeError:  # the system has no room for a thread
            half = 0
    results.append(function(begins[0] + half, begins[1] + half, size - half))
    if half:
        done.acquire()
    return results


@functools.cache
def _has_two_cores() -> bool:
    """Return whether two threads of this process may run at the same time."""
    from scaler_notebook.engines.local.resource_limits import available_cores  # where there is large memory, alone

    return available_cores() > 1


def is_unmodified(address: int, size: int) -> bool:
    """Return whether nothing was written to a part of a private mapping of a file; False if that is not known.

    Parameters
    ----------
    address
        Where the part begins, at the beginning of a page.
    size
        Bytes that the part has.
    """
    try:
        return _tells_of_copies() and not _copies_in(address, size)
    except OSError:  # no page table, or none for us
        return False


@functools.cache
def _tells_of_copies() -> bool:
    """Return whether this system's page table tells a page that was written to from one that was read."""
    fd = os.memfd_create("page", os.MFD_CLOEXEC)
    try:
        os.pwrite(fd, b"page", 0)
        mapping = map_privately(fd, 4)
    finally:
        os.close(fd)
    where = ctypes.addressof(mapping)
    unused, read = _copies_in(where, 4), mapping[0] != b"p" or _copies_in(where, 4)
    mapping[0] = b"r"
    return not unused and not read and _copies_in(where, 4)


def _copies_in(address: int, size: int) -> bool:
    """Return whether a page of a part of a private mapping was copied, for it was written to.

    Parameters
    ----------
    address, size
        As for :func:`is_unmodified`.

    Raises
    ------
    OSError
        The page table cannot be read.
    """
    first, end = address // PAGE, (address + size + PAGE - 1) // PAGE
    with open("/proc/self/pagemap", "rb", buffering=0) as table:
        for page in range(first, end, PAGES_AT_ONCE):
            wanted = ENTRY * min(PAGES_AT_ONCE, end - page)
            entries = os.pread(table.fileno(), wanted, ENTRY * page)
            if len(entries) != wanted or _has_copies(entries):
                return True
    return False


def _has_copies(entries: bytes) -> bool:
    """Return whether a page of a private mapping is another one than the file's.

    Parameters
    ----------
    entries
        Of the page table, as proc_pid_pagemap(5) has them: 64 bits for each page, of which bit 63 says that the page is
        in memory, bit 62 that it is swapped out, and bit 61 that it is the file's. A page that was never used has none.
    """
    all_entries = int.from_bytes(entries, "little")
    bit_61 = int.from_bytes((1 << 61).to_bytes(ENTRY, "little") * (len(entries) // ENTRY), "little")
    return bool((all_entries >> 2 | all_entries >> 1) & ~all_entries & bit_61)


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


def address(buffer: Buffer) -> int:
    """Return the address of the memory of an object that supports the buffer protocol."""
    view = _PyBuffer()
    api = ctypes.pythonapi
    api.PyObject_GetBuffer(ctypes.py_object(buffer), ctypes.byref(view), 0)
    try:
        return int(view.buf)
    finally:
        api.PyBuffer_Release(ctypes.byref(view))
