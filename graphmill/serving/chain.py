"""Reading a log: its segments, one behind the other, by whoever writes it or another process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from graphmill.errors import UserError
from graphmill.serving import segment

Event = dict[str, Any]


def files(folder: Path) -> list[Path]:
    """The segments of a log, oldest first."""
    return sorted(file for file in folder.glob("*.log") if file.stem.isdigit())


def first(file: Path) -> int:
    """Offset of a segment's first event."""
    return int(file.stem)


def records(folder: Path, start: int) -> Iterator[tuple[Path, segment.Record]]:
    """Records and their files, from the segment on that holds offset ``start``.

    Each segment ends where the next begins: what a failed write may have left behind is not read.

    Raises:
        UserError: when one is damaged, or missing between others.
    """
    found = files(folder)
    for place, file in enumerate(found):
        stop = first(found[place + 1]) if place + 1 < len(found) else None
        if stop is not None and stop <= start:
            continue
        end = first(file)
        for record in segment.records(file, stop):
            yield file, record
            end = record.offset + 1
        if stop is not None and end < stop:
            raise UserError(f"{folder}: events {end:,} to {stop - 1:,} are missing behind {file.name}; restore them")


def read_log(folder: str | Path, start: int, stop: int | None = None) -> Iterator[tuple[int, Event]]:
    """Events of a log from an offset on, with their offsets, for a process that does not write it.

    Where older ones were trimmed, it begins with the first that is there.

    Raises:
        UserError: when a segment is damaged or missing.
    """
    for _, record in records(Path(folder), start):
        if stop is not None and record.offset >= stop:
            return
        if record.offset >= start:
            yield record.offset, orjson.loads(record.payload)
