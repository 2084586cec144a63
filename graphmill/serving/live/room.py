"""Arrays with room to grow in place: a snapshot's file mapped first, untouched pages behind it.

One stretch of addresses holds both, so every kernel reads old and new rows alike, addresses never change, and what
is not written costs no memory. Changes to mapped pages are private copies: the file stays as it is.
"""

import ctypes
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphmill.errors import UserError

POPULATE_READ = 22
"""MADV_POPULATE_READ (Linux 5.14): fault all pages of a mapping in, so that no request waits for the disk."""
RESERVED = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
FIXED = 0x10

_map = ctypes.CDLL(None, use_errno=True).mmap
_map.restype = ctypes.c_void_p
_map.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


def extended(file: Path, more: int) -> NDArray[Any]:
    """The array of a ``.npy`` file with ``more`` rows of zeros behind it: ``[rows + more, …]``, writable.

    Raises:
        UserError: when the file is not an array in C order, or cannot be mapped.
    """
    try:
        shape, kind, begin = _header(file)
        size = os.path.getsize(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as an array: {error}") from None
    row = int(np.prod(shape[1:], dtype=np.int64)) * kind.itemsize
    total = max(begin + (shape[0] + more) * row, size, 1)
    region = mmap.mmap(-1, total, flags=RESERVED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    _lay(file, region, size)
    room = np.frombuffer(region, kind, (shape[0] + more) * row // kind.itemsize, begin)
    return room.reshape(shape[0] + more, *shape[1:])


def empty(rows: int, columns: tuple[int, ...], kind: Any) -> NDArray[Any]:
    """Zeros ``[rows, *columns]`` that take memory only where they are written."""
    shape = (rows, *columns)
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
    if size == 0:
        return np.zeros(shape, kind)
    region = mmap.mmap(-1, size, flags=RESERVED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    return np.frombuffer(region, kind).reshape(shape)


def copied(array: NDArray[Any], more: int) -> NDArray[Any]:
    """A copy of an array with ``more`` rows of zeros behind it."""
    room = empty(len(array) + more, array.shape[1:], array.dtype)
    room[: len(array)] = array
    return room


def _header(file: Path) -> tuple[tuple[int, ...], Any, int]:
    with file.open("rb") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, kind = read(stream)
        if fortran or not shape:
            raise ValueError("not an array in C order")
        return shape, kind, stream.tell()


def _lay(file: Path, region: mmap.mmap, size: int) -> None:
    """Map a file over the beginning of a region, and have its pages in memory."""
    address = ctypes.addressof(ctypes.c_char.from_buffer(region))
    with file.open("rb") as stream:
        both = mmap.PROT_READ | mmap.PROT_WRITE
        found = _map(address, size, both, mmap.MAP_PRIVATE | FIXED, stream.fileno(), 0)
    if found != address:
        raise UserError(f"{file}: cannot be mapped into memory: {os.strerror(ctypes.get_errno())}")
    try:
        region.madvise(POPULATE_READ, 0, size)
    except OSError:
        pass  # an older kernel reads the pages when they are first needed
