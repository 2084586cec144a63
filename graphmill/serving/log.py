"""The write-ahead log: an event is on disk before it is visible, and once, however often it is sent.

Events are appended by the thread of the event loop; what blocks runs in one thread of its own. Appends that come
while a write is on its way share the next one (group commit). An event's offset is its place in the log, from 0.
"""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import orjson

from graphmill.errors import UserError
from graphmill.serving import chain, segment
from graphmill.serving.chain import Event, read_log
from graphmill.serving.writer import Writer

__all__ = ["Event", "Log", "NotNow", "read_log"]

_LOG = logging.getLogger(__name__)
AGAIN = 5.0
"""Seconds until a disk that refused is tried again, whether or not somebody sends events."""


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
        first: offset of the oldest event that is there.
        end: offset behind the newest one that is durable.
    """

    def __init__(self, folder: Path, lock: int, remember: int, segment_bytes: int) -> None:
        self._folder, self._lock = folder, lock
        self._known = _Known(remember)
        self._writer = Writer(folder, segment_bytes)
        self._thread = ThreadPoolExecutor(1, "log")
        self._queue: list[_Batch] = []
        self._writing: asyncio.Task[None] | None = None
        self._trying: asyncio.Task[None] | None = None
        self._closed = False
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
            UserError: when it is damaged before its end, another process has it, or the disk refuses.
        """
        place = Path(folder)
        try:
            log = cls(place, _locked(place), remember, segment_bytes)
            try:
                log._recover()
            except BaseException:
                os.close(log._lock)
                raise
        except OSError as error:
            raise UserError(f"{place}: the log cannot be opened: {error.strerror}") from None
        return log

    async def append(self, events: list[Event]) -> list[int | None]:
        """Make events durable: the offset of each, None for one that was appended before.

        Raises:
            NotNow: when they cannot be written; none of them is kept.
        """
        if self._closed:
            raise NotNow(f"{self._folder}: the log is closed: the server is being stopped")
        payloads = [orjson.dumps(event) for event in events]
        identities = [_identity(event) for event in events]
        future: asyncio.Future[list[int | None]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Batch(events, payloads, identities, [], future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await future

    def read(self, start: int, stop: int | None = None) -> Iterator[tuple[int, Event]]:
        """Durable events from an offset on, with their offsets."""
        return read_log(self._folder, start, self.end if stop is None else min(stop, self.end))

    def trim(self, before: int) -> None:
        """Delete the segments all of whose events lie before an offset and are too old to be remembered."""
        try:
            left = self._writer.trim(min(before, self.end - self._known.most))
        except OSError as error:
            _LOG.warning("%s: old events cannot be deleted: %s", self._folder, error.strerror)
        else:
            self.first = self.first if left is None else left

    async def close(self) -> None:
        """Write what waits, and let another process have the log."""
        self._closed = True
        if self._trying is not None:
            self._trying.cancel()
        while self._writing is not None:
            await asyncio.wait([self._writing])
        self._thread.shutdown()
        self._writer.close()
        os.close(self._lock)

    async def _write(self) -> None:
        """Write batch after batch, all that wait in one go, until none is left."""
        loop = asyncio.get_running_loop()
        try:
            while self._queue:
                batches, self._queue = self._queue, []
                fresh = self._fresh(batches)
                try:
                    if fresh or self.problem is not None:
                        payloads = [item[1] for item in fresh]
                        await loop.run_in_executor(self._thread, self._writer.append, self.end, payloads)
                except OSError as error:
                    self._refuse(batches, error)
                else:
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
            self._known.add(identity)
        try:
            if fresh:
                self.on_commit(first, [item[0] for item in fresh])
        except Exception as error:  # durable, but not visible: whoever waits must hear of it
            _LOG.exception("events %d to %d are in the log, but were not taken up", first, self.end - 1)
            _fail(batches, error)
            return
        offset = first
        for batch in batches:
            offsets: list[int | None] = []
            for seen in batch.duplicates:
                offsets.append(None if seen else offset)
                offset += not seen
            if not batch.future.done():
                batch.future.set_result(offsets)

    def _refuse(self, batches: list[_Batch], error: OSError) -> None:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "make room on its disk" if full else "look at its disk"
        self.problem = f"{self._folder}: events cannot be written: {error.strerror}; {advice}"
        _LOG.error("%s", self.problem)
        _fail(batches, NotNow(self.problem))
        if self._trying is None:
            self._trying = asyncio.create_task(self._try())

    async def _try(self) -> None:
        """See from time to time whether the disk takes events again: who is told to go away does not come back."""
        while self.problem is not None:
            await asyncio.sleep(AGAIN)
            with contextlib.suppress(NotNow):
                await self.append([])
        self._trying = None

    def _recover(self) -> None:
        found = chain.files(self._folder)
        if not found:
            return
        last, size = found[-1], segment.HEADER.size
        self.first, self.end = chain.first(found[0]), chain.first(last)
        oldest = self.end - self._known.most
        for file, record in chain.records(self._folder, self.first):
            if record.offset >= oldest:
                self._known.add(_identity(orjson.loads(record.payload)))
            if file == last:
                self.end, size = record.offset + 1, record.end
        self._writer.resume(last, size)


class _Known:
    """The newest identities; about 100 MB a million."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._all: set[bytes] = set()
        self._order: deque[bytes] = deque()

    def __contains__(self, identity: bytes) -> bool:
        return identity in self._all

    def add(self, identity: bytes) -> None:
        """Remember one that is not known, in place of the oldest."""
        self._all.add(identity)
        self._order.append(identity)
        if len(self._order) > self.most:
            self._all.discard(self._order.popleft())


def _locked(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise UserError(f"{folder}: another server writes this log; give each a folder of its own") from None
    return lock


def _fail(batches: list[_Batch], error: Exception) -> None:
    for batch in batches:
        if not batch.future.done():
            batch.future.set_exception(error)


def _identity(event: Event) -> bytes:
    return hashlib.blake2b(str(event["id"]).encode(), digest_size=16).digest()
