"""Events from a Redis Stream: at least once from there, once in effect by the log's memory of their ids.

An entry is acknowledged to Redis when its event is durable here, or was refused and put aside. Each replica reads
the whole stream through a consumer group of its own.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from redis import asyncio as redis
from redis.exceptions import RedisError, ResponseError

from graphmill.errors import UserError
from graphmill.serving.log import NotNow

_LOG = logging.getLogger(__name__)
FIELD = b"event"
"""The field of an entry that holds the event as JSON."""
BATCH = 1_000
BLOCK = 1_000
"""Milliseconds that a read waits for something new."""
SHORTEST, LONGEST = 0.1, 10.0
"""Seconds between attempts."""
ASIDE = 100_000
"""Refused entries that are kept, about."""

Event = dict[str, Any]
Entry = tuple[bytes, dict[bytes, bytes]]
Accept = Callable[[list[Event]], Awaitable[dict[int, str]]]
"""Makes events durable and returns, by index, why those were refused that are wrong; all others are durable then.

Whatever it raises, `NotNow` or another, means that none is: they are given to it again, after a while.
"""


class Stream:
    """A reader of a stream in a consumer group, and a writer to it.

    Args:
        url: where Redis is.
        name: the stream's key; what is refused goes to ``<name>:refused``.
        group: the consumer group, made when it is missing; it begins with the oldest entry.

    Raises:
        UserError: for a URL that is none of Redis.

    Attributes:
        caught_up: whether everything that was in the stream has been read once since the start.
        problem: why the stream cannot be read now; None when it can.
        refused: entries put aside since the start.
    """

    def __init__(self, url: str, name: str, group: str) -> None:
        try:
            self._client = redis.Redis.from_url(
                url, protocol=2, socket_timeout=10 + BLOCK / 1_000, socket_connect_timeout=5
            )
        except ValueError as error:  # not with the URL: it may hold a password
            raise UserError(f"the stream's URL is none of Redis: {error}") from None
        self._name, self._group, self._consumer = name, group, "server"
        self.caught_up = False
        self.problem: str | None = None
        self.refused = 0

    async def add(self, events: list[Event]) -> list[str]:
        """Put events into the stream, all or none; the ids that Redis gave them.

        Raises:
            NotNow: when Redis does not take them.
        """
        try:
            async with self._client.pipeline(transaction=True) as pipe:
                for event in events:
                    pipe.xadd(self._name, {FIELD: orjson.dumps(event)})
                return [entry.decode() for entry in await pipe.execute()]
        except (RedisError, OSError) as error:
            raise NotNow(f"the stream takes no events now: {error}") from None

    async def run(self, accept: Accept) -> None:
        """Read until cancelled; what fails is tried again, ever more slowly."""
        wait = SHORTEST
        try:
            while True:
                try:
                    await self._group_there()
                    await self._unfinished(accept)
                    while True:
                        await self._new(accept)
                        self.problem, wait = None, SHORTEST
                except Exception as error:  # nobody waits for this task: what ends it would end it in silence
                    self.problem = self._told(error)
                    _LOG.warning("%s; again in %.1f s", self.problem, wait)
                    await asyncio.sleep(wait * random.uniform(0.8, 1.2))
                    wait = min(2 * wait, LONGEST)
        finally:
            await self._client.aclose()

    def _told(self, error: Exception) -> str:
        if isinstance(error, UserError):
            return str(error)
        if isinstance(error, (RedisError, OSError)):
            return f"the stream cannot be read: {error}"
        _LOG.exception("events of the stream cannot be taken up")
        return f"events of the stream cannot be taken up: {type(error).__name__}: {error}"

    async def _group_there(self) -> None:
        try:
            await self._client.xgroup_create(self._name, self._group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _unfinished(self, accept: Accept) -> None:
        """Take all entries that were read before a crash or a failure, and never acknowledged."""
        after = b"0"
        while entries := await self._read(after, None):
            await self._take(accept, entries)
            after = entries[-1][0]

    async def _new(self, accept: Accept) -> None:
        """Take what is new; less than was asked for was all there is."""
        entries = await self._read(b">", BLOCK)
        if entries:
            await self._take(accept, entries)
        self.caught_up = self.caught_up or len(entries) < BATCH

    async def _read(self, after: bytes, block: int | None) -> Sequence[Entry]:
        streams: dict[Any, Any] = {self._name: after}
        found: Any = await self._client.xreadgroup(self._group, self._consumer, streams, count=BATCH, block=block)
        entries: Sequence[Entry] = found[0][1] if found else []
        return entries

    async def _take(self, accept: Accept, entries: Sequence[Entry]) -> None:
        """Have the events of entries made durable, put the bad ones aside, acknowledge all."""
        events, places, wrong = [], [], {}
        for place, (_, fields) in enumerate(entries):
            if not fields:
                continue  # deleted from the stream since it was read
            try:
                events.append(_event(fields))
                places.append(place)
            except ValueError as error:
                wrong[place] = str(error)
        if events:
            wrong |= {places[place]: reason for place, reason in (await accept(events)).items()}
        async with self._client.pipeline(transaction=True) as pipe:
            for place, reason in wrong.items():
                entry, fields = entries[place]
                _LOG.warning("entry %s of the stream is refused: %s", entry.decode(), reason)
                aside: dict[Any, Any] = {**fields, b"entry": entry, b"reason": reason.encode(errors="replace")}
                pipe.xadd(f"{self._name}:refused", aside, maxlen=ASIDE, approximate=True)
            pipe.xack(self._name, self._group, *(entry for entry, _ in entries))
            await pipe.execute()
        self.refused += len(wrong)


async def ended(task: "asyncio.Task[Any]") -> None:
    """Cancel a task until it has ended: Redis' client may take a cancellation for a broken connection."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.5)


def _event(fields: dict[bytes, bytes]) -> Event:
    """The event of an entry; ValueError says why there is none."""
    if FIELD not in fields:
        raise ValueError(f"it has no field {FIELD.decode()!r}")
    try:
        event = orjson.loads(fields[FIELD])
    except ValueError as error:
        raise ValueError(f"its field {FIELD.decode()!r} is not JSON: {error}") from None
    if not isinstance(event, dict):
        raise ValueError(f"its field {FIELD.decode()!r} is not a JSON object")
    return event
