"""Events from a Redis Stream: at least once from there, once in effect by the log's memory of their ids.

An entry is acknowledged to Redis when its event is durable here, or was refused and put aside. Each replica reads
the whole stream through a consumer group of its own.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from redis import asyncio as redis
from redis.exceptions import RedisError, ResponseError

from graphmill.serving.log import NotNow

_LOG = logging.getLogger(__name__)
FIELD = b"event"
"""The field of an entry that holds the event as JSON."""
BATCH = 1_000
BLOCK = 1_000
"""Milliseconds that a read waits for something new."""
LONGEST = 10.0
"""Seconds between attempts at the most."""

Event = dict[str, Any]
Accept = Callable[[list[Event]], Awaitable[dict[int, str]]]
"""Makes events durable; returns, by index, why those were refused that are wrong. Raises `NotNow`."""


class Stream:
    """A reader of a stream in a consumer group, and a writer to it.

    Args:
        url: where Redis is.
        name: the stream's key; what is refused goes to ``<name>:refused``.
        group: the consumer group, made when it is missing; it begins with the oldest entry.

    Attributes:
        caught_up: whether everything that was in the stream has been read once since the start.
        problem: why the stream cannot be read now; None when it can.
    """

    def __init__(self, url: str, name: str, group: str) -> None:
        self._client = redis.Redis.from_url(
            url, protocol=2, socket_timeout=10 + BLOCK / 1_000, socket_connect_timeout=5
        )
        self._name, self._group, self._consumer = name, group, "server"
        self.caught_up = False
        self.problem: str | None = None
        self.refused = 0

    async def add(self, events: list[Event]) -> None:
        """Put events into the stream.

        Raises:
            NotNow: when Redis does not take them.
        """
        try:
            async with self._client.pipeline(transaction=True) as pipe:
                for event in events:
                    pipe.xadd(self._name, {FIELD: orjson.dumps(event)})
                await pipe.execute()
        except (RedisError, OSError) as error:
            raise NotNow(f"the stream takes no events now: {error}") from None

    async def run(self, accept: Accept) -> None:
        """Read until cancelled; what fails is tried again, ever more slowly."""
        wait = 0.1
        try:
            while True:
                try:
                    await self._group_there()
                    await self._read(accept, "0")  # what was read before a crash and never acknowledged
                    while True:
                        await self._read(accept, ">")
                        self.problem, wait = None, 0.1
                except (RedisError, OSError, NotNow) as error:
                    self.problem = f"the stream cannot be read: {error}"
                    _LOG.warning("%s; again in %.1f s", self.problem, wait)
                    await asyncio.sleep(wait * random.uniform(0.8, 1.2))
                    wait = min(2 * wait, LONGEST)
        finally:
            await self._client.aclose()

    async def _group_there(self) -> None:
        try:
            await self._client.xgroup_create(self._name, self._group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _read(self, accept: Accept, after: str) -> None:
        """One read of new entries (``>``), or all of those that were read but never acknowledged (from ``0``)."""
        while True:
            block = BLOCK if after == ">" else None
            found: Any = await self._client.xreadgroup(
                self._group, self._consumer, {self._name: after}, count=BATCH, block=block
            )
            entries: list[Any] = found[0][1] if found else []
            if entries:
                await self._take(accept, entries)
            if after == ">" or len(entries) < BATCH:
                break
            after = entries[-1][0]
        if after == ">" and not self.caught_up and len(entries) < BATCH:
            self.caught_up = True

    async def _take(self, accept: Accept, entries: list[tuple[bytes, dict[bytes, bytes] | None]]) -> None:
        events, places, wrong = [], [], {}
        for place, (_, fields) in enumerate(entries):
            if fields is None:
                continue  # deleted from the stream since it was read
            try:
                event = orjson.loads(fields[FIELD])
                if not isinstance(event, dict):
                    raise ValueError("not an object")
            except (KeyError, ValueError) as error:
                wrong[place] = f"no event as JSON in its field {FIELD.decode()!r}: {error}"
            else:
                events.append(event)
                places.append(place)
        if events:
            wrong |= {places[place]: reason for place, reason in (await accept(events)).items()}
        await self._put_aside(entries, wrong)
        await self._client.xack(self._name, self._group, *(entry for entry, _ in entries))

    async def _put_aside(self, entries: list[Any], wrong: dict[int, str]) -> None:
        for place, reason in wrong.items():
            self.refused += 1
            _LOG.warning("entry %s of the stream is refused: %s", entries[place][0].decode(), reason)
            fields = {b"reason": reason.encode(), b"entry": entries[place][0], **entries[place][1]}
            await self._client.xadd(f"{self._name}:refused", fields, maxlen=100_000, approximate=True)
