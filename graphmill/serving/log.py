"""The write-ahead log: an event is on disk before it is visible, and once, however often it is sent.

Events are appended by the thread of the event loop; what blocks runs in one thread of its own. Appends that come
while a write is on its way share the next one (group commit). An event's offset is its place in the log, from 0.
"""

import asyncio
import errno
import fcntl
import hashlib
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from graphmill.errors import UserError
from graphmill.serving import segment

_LOG = logging.getLogger(__name__)
Event = dict[str, Any]


class NotNow(UserError):
    """Events cannot be taken now: none of the batch is kept; send it again later."""


class _Batch(NamedTuple):
    events: list[Event]
    payloads: list[bytes]
    identities: list[bytes]
    duplicates: list[bool]
    future: asyncio.Future[list[int | None]]


class Log:
    """A folder of segments that one process writes. `open` makes one.

    Attributes:
        on_commit: called on the loop's thread with the first offset and the events that became durable, in order and
            before whoever sent them is answered.
        problem: why events are not taken now; None when they are.
    """

    def __init__(self, folder: Path, lock: int, remember: int, segment_bytes: int) -> None:
        self._folder, self._lock, self._remember, self._segment_bytes = folder, lock, remember, segment_bytes
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._queue: list[_Batch] = []
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "log")
        self._handle, self._size = -1, 0
        self.first = self.end = 0
        self.problem: str | None = None
        self.on_commit: Callable[[int, list[Event]], None] = lambda first, events: None

    @classmethod
    def open(cls, folder: str | Path, remember: int = 1_000_000, segment_bytes: int = 64 * 1024 * 1024) -> "Log":
        """Make or recover a log.

        Args:
            folder: where it stands.
            remember: so many newest events are recognised when they are sent again.
            segment_bytes: a file that has become larger is followed by a new one.

        Raises:
            UserError: when it is damaged before its end, or another process has it.
        """
        place = Path(folder)
        try:
            place.mkdir(parents=True, exist_ok=True)
            lock = os.open(place / "lock", os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as error:
            raise UserError(f"{place}: the log cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise UserError(f"{place}: another server writes this log; give each a folder of its own") from None
        log = cls(place, lock, remember, segment_bytes)
        try:
            log._recover()
        except BaseException:
            os.close(lock)
            raise
        return log

    async def append(self, events: list[Event]) -> list[int | None]:
        """Make events durable: the offset of each, None for one that was appended before.

        Raises:
            NotNow: when they cannot be written; none of them is kept.
        """
        future: asyncio.Future[list[int | None]] = asyncio.get_running_loop().create_future()
        payloads = [orjson.dumps(event) for event in events]
        identities = [_identity(event) for event in events]
        self._queue.append(_Batch(events, payloads, identities, [], future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await future

    def read(self, start: int, stop: int | None = None) -> Iterator[tuple[int, Event]]:
        """Durable events from an offset on, with their offsets."""
        return read_log(self._folder, start, self.end if stop is None else min(stop, self.end))

    def trim(self, before: int) -> None:
        """Delete the segments all of whose events lie before an offset and are too old to be remembered."""
        bound = min(before, self.end - self._remember)
        files = _files(self._folder)
        for file, after in zip(files, files[1:], strict=False):
            if _first(after) > bound:
                break
            file.unlink()
            self.first = _first(after)

    async def close(self) -> None:
        """Write what waits, and let another process have the log."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
        self._thread.shutdown()
        if self._handle >= 0:
            os.close(self._handle)
        os.close(self._lock)

    async def _write(self) -> None:
        """Write batch after batch, all that wait in one go, until none is left."""
        loop = asyncio.get_running_loop()
        try:
            while self._queue:
                batches, self._queue = self._queue, []
                fresh = self._fresh(batches)
                try:
                    if fresh:
                        await loop.run_in_executor(self._thread, self._durable, [item[1] for item in fresh])
                except (OSError, NotNow) as error:
                    self._refuse(batches, error)
                    continue
                self._commit(batches, fresh)
        finally:
            self._writing = None

    def _fresh(self, batches: list[_Batch]) -> list[tuple[Event, bytes, bytes]]:
        """The events of some batches that were not seen before: event, JSON, identity."""
        found: list[tuple[Event, bytes, bytes]] = []
        now: set[bytes] = set()
        for batch in batches:
            for event, payload, identity in zip(batch.events, batch.payloads, batch.identities, strict=True):
                seen = identity in self._known or identity in now
                batch.duplicates.append(seen)
                if not seen:
                    now.add(identity)
                    found.append((event, payload, identity))
        return found

    def _commit(self, batches: list[_Batch], fresh: list[tuple[Event, bytes, bytes]]) -> None:
        first, self.end, self.problem = self.end, self.end + len(fresh), None
        for _, _, identity in fresh:
            self._keep(identity)
        if fresh:
            self.on_commit(first, [item[0] for item in fresh])
        offset = first
        for batch in batches:
            offsets: list[int | None] = []
            for seen in batch.duplicates:
                offsets.append(None if seen else offset)
                offset += not seen
            if not batch.future.done():
                batch.future.set_result(offsets)

    def _refuse(self, batches: list[_Batch], error: Exception) -> None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "make room on its disk" if full else "look at its disk"
        reason = error.strerror if isinstance(error, OSError) else str(error)
        self.problem = f"{self._folder}: events cannot be written: {reason}; {advice}"
        _LOG.error("%s", self.problem)
        for batch in batches:
            if not batch.future.done():
                batch.future.set_exception(NotNow(self.problem))

    def _durable(self, payloads: list[bytes]) -> None:
        """Append records and wait until they are on the disk. Runs in the log's own thread.

        What fails is cut off again. After a failed sync a second one may say yes to what was lost, so nothing more is
        written behind it: the segment ends where the last good sync left it, and a new one is begun.
        """
        if self._handle < 0 or self._size >= self._segment_bytes:
            self._roll(self.end)
        try:
            data = segment.packed(payloads)
            _all(self._handle, data)
            os.fdatasync(self._handle)
            self._size += len(data)
        except OSError:
            self._cut()
            raise

    def _cut(self) -> None:
        handle, self._handle = self._handle, -1
        try:
            os.ftruncate(handle, self._size)
            os.fsync(handle)
        finally:
            os.close(handle)

    def _roll(self, first: int) -> None:
        """Go on in a new segment, or in the one that already begins there and holds nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        self._handle = segment.create(self._folder, first)
        os.lseek(self._handle, 0, os.SEEK_END)
        self._size = segment.HEADER.size

    def _recover(self) -> None:
        files = _files(self._folder)
        for file in files:
            end, size = _first(file), segment.HEADER.size
            if file != files[0] and end != self.end:
                raise UserError(f"{self._folder}: events {self.end:,} to {end - 1:,} are missing; restore {file.name}")
            for record in segment.records(file, file == files[-1]):
                if record.offset >= _first(files[-1]) - self._remember:
                    self._keep(_identity(orjson.loads(record.payload)))
                end, size = record.offset + 1, record.end
            self.end, self._size = end, size
        if not files:
            return
        self.first = _first(files[0])
        torn = files[-1].stat().st_size - self._size
        self._handle = os.open(files[-1], os.O_RDWR)
        if torn:
            _LOG.warning("%s: %d bytes of an unfinished write were cut off", files[-1], torn)
            os.ftruncate(self._handle, self._size)
            os.fsync(self._handle)
        os.lseek(self._handle, self._size, os.SEEK_SET)

    def _keep(self, identity: bytes) -> None:
        self._known[identity] = None
        if len(self._known) > self._remember:
            self._known.popitem(last=False)


def read_log(folder: str | Path, start: int, stop: int | None = None) -> Iterator[tuple[int, Event]]:
    """Events of a log from an offset on, with their offsets, for a process that does not write it.

    Where older ones were trimmed, it begins with the first that is there.

    Raises:
        UserError: when a segment is damaged.
    """
    files = _files(Path(folder))
    for place, file in enumerate(files):
        if place + 1 < len(files) and _first(files[place + 1]) <= start:
            continue
        for record in segment.records(file, place + 1 == len(files)):
            if stop is not None and record.offset >= stop:
                return
            if record.offset >= start:
                yield record.offset, orjson.loads(record.payload)


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.log") if file.stem.isdigit())


def _first(file: Path) -> int:
    return int(file.stem)


def _identity(event: Event) -> bytes:
    return hashlib.blake2b(str(event["id"]).encode(), digest_size=16).digest()


def _all(handle: int, data: bytes) -> None:
    """Write everything: one call may take only a part."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
