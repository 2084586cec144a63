"""One file of the log: a header, then records of a length, a checksum and an event as JSON."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from graphmill.errors import UserError

HEADER = struct.Struct("<8sIQ")
"""Magic, version of the format, offset of the first event."""
RECORD = struct.Struct("<II")
"""Bytes of the event, with `BEGINS` where it is the first of a write, and the CRC-32 of its JSON."""
BEGINS = 1 << 31
MAGIC, VERSION = b"GMEVENTS", 1
SHORTEST = 2
"""Bytes of ``{}``. Zeros, which a crash leaves where a file had only grown, are no record."""
HOLE = bytes(512)
"""A sector that never reached the disk; JSON has no zeros."""


class Record(NamedTuple):
    """One event of a segment: its offset, its JSON, and where the next record begins."""

    offset: int
    payload: bytes
    end: int


def name(first: int) -> str:
    """The file name of a segment whose first event has that offset."""
    return f"{first:020d}.log"


def packed(payloads: list[bytes]) -> bytes:
    """Records of one write, one behind the other."""
    begins, parts = BEGINS, []
    for one in payloads:
        parts += [RECORD.pack(len(one) | begins, zlib.crc32(one)), one]
        begins = 0
    return b"".join(parts)


def records(file: Path, stop: int | None = None) -> Iterator[Record]:
    """The events of a segment.

    Args:
        file: the segment.
        stop: where the next segment begins. None for the newest one: what a crash left unfinished at its end is no
            error then, and not told.

    Raises:
        UserError: naming the byte at which the file is damaged.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    offset, place = _first(file, content), HEADER.size
    while place < len(content) and offset != stop:
        found = _record(content, place, offset)
        if found is None:
            if stop is None and _unfinished(content, place):
                return
            raise UserError(
                f"{file}: damaged at byte {place:,} (event {offset:,}); restore it from a copy, or take a new snapshot "
                "and move the log away"
            )
        yield found
        offset, place = offset + 1, found.end


def _first(file: Path, content: bytes) -> int:
    if len(content) < HEADER.size:
        raise UserError(f"{file}: damaged: it has no header; restore it, or take a new snapshot and move the log away")
    magic, version, offset = HEADER.unpack_from(content)
    if magic != MAGIC or version != VERSION or file.name != name(offset):
        raise UserError(f"{file}: not a log of this version; restore it, or move the log away")
    return int(offset)


def _record(content: bytes, place: int, offset: int) -> Record | None:
    begin = place + RECORD.size
    if begin > len(content):
        return None
    word, checksum = RECORD.unpack_from(content, place)
    end = begin + (word & ~BEGINS)
    if not begin + SHORTEST <= end <= len(content):
        return None
    payload = content[begin:end]
    return Record(offset, payload, end) if zlib.crc32(payload) == checksum else None


def _unfinished(content: bytes, place: int) -> bool:
    """Whether damage is what a crash leaves of a write that was not synced yet, and so never acknowledged.

    Nothing sound follows it; or, as blocks reach a disk in any order, a hole and what came behind it in the same
    write. A later write was only begun when this one had been synced: then the damage is another.
    """
    sound = list(_sound(content, place + 1))
    if any(RECORD.unpack_from(content, at)[0] & BEGINS for at in sound):
        return False
    return not sound or HOLE in content[place : sound[0]]


def _sound(content: bytes, place: int) -> Iterator[int]:
    """Where sound records stand behind a place, whatever lies between.

    Each is looked for by the brace that its JSON begins with. Before any other brace stands text, which read as a
    length is beyond the file.
    """
    brace = content.find(b"{", place + RECORD.size)
    while brace >= 0:
        found = _record(content, brace - RECORD.size, 0)
        if found is not None:
            yield brace - RECORD.size
        brace = content.find(b"{", brace + 1 if found is None else found.end + RECORD.size)
