"""One file of the log: a header, then records of a length, a checksum and an event as JSON."""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from graphmill.errors import UserError

HEADER = struct.Struct("<8sIQ")
"""Magic, version of the format, offset of the first event."""
RECORD = struct.Struct("<II")
"""Bytes of the event, and their CRC-32."""
MAGIC, VERSION = b"GMEVENTS", 1


class Record(NamedTuple):
    """One event of a segment: its offset, its JSON, and where the next record begins."""

    offset: int
    payload: bytes
    end: int


def name(first: int) -> str:
    """The file name of a segment whose first event has that offset."""
    return f"{first:020d}.log"


def packed(payloads: list[bytes]) -> bytes:
    """Records, one behind the other."""
    return b"".join(RECORD.pack(len(one), zlib.crc32(one)) + one for one in payloads)


def create(folder: Path, first: int) -> int:
    """A new segment, durable under its name; an open handle at its end."""
    partial = folder / f".{name(first)}.partial"
    handle = os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o644)
    try:
        os.write(handle, HEADER.pack(MAGIC, VERSION, first))
        os.fsync(handle)
        os.rename(partial, folder / name(first))
        sync_folder(folder)
    except OSError:
        os.close(handle)
        raise
    return handle


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def records(file: Path, last: bool) -> Iterator[Record]:
    """The events of a segment.

    Args:
        file: the segment.
        last: whether it is the newest: what a crash left unfinished at its end is then no error, and not told.

    Raises:
        UserError: naming the byte at which the file is damaged.
    """
    content = file.read_bytes()
    if len(content) < HEADER.size:
        raise UserError(f"{file}: damaged: it has no header; restore it, or take a new snapshot and move the log away")
    magic, version, offset = HEADER.unpack_from(content)
    if magic != MAGIC or version != VERSION or file.name != name(offset):
        raise UserError(f"{file}: not a log of this version; restore it, or move the log away")
    place = HEADER.size
    while place < len(content):
        found = _record(content, place, offset)
        if found is None:
            if last and _torn(content, place):
                return
            raise UserError(
                f"{file}: damaged at byte {place:,} (event {offset:,}); restore it from a copy, or take a new snapshot "
                "and move the log away"
            )
        yield found
        offset, place = offset + 1, found.end


def _record(content: bytes, place: int, offset: int) -> Record | None:
    begin = place + RECORD.size
    if begin > len(content):
        return None
    length, checksum = RECORD.unpack_from(content, place)
    payload = content[begin : begin + length]
    if len(payload) < length or zlib.crc32(payload) != checksum:
        return None
    return Record(offset, payload, begin + length)


def _torn(content: bytes, place: int) -> bool:
    """Whether nothing sound follows: an unfinished write, and not a damaged record in front of sound ones."""
    begin = place + RECORD.size
    if begin > len(content):
        return True
    length, _ = RECORD.unpack_from(content, place)
    return begin + length >= len(content) or _record(content, begin + length, 0) is None
