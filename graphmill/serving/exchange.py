"""One HTTP request: its headers, its body within the limit and unpacked, and the answer to it."""

import asyncio
import re
import secrets
import zlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

import orjson

from graphmill.serving.failure import Failure, Kind, invalid

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

MIRRORED = "x-graphmill-shadow"
"""Header of a request that another version mirrors; its value is ``1``."""
_JSON: Header = (b"content-type", b"application/json")
_IDENTIFIER = re.compile(rb"[\x21-\x7e]{1,128}")
_PACKED = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
"""Content encodings and zlib's word for each."""


class Reply(NamedTuple):
    """An answer: status, body and headers beyond the usual."""

    status: int
    body: bytes
    headers: tuple[Header, ...] = (_JSON,)


def json_reply(value: Any, status: int = 200, headers: Iterable[Header] = ()) -> Reply:
    """An answer in JSON; numpy arrays are written as lists."""
    return Reply(status, orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), (_JSON, *headers))


def refusal(failure: Failure) -> Reply:
    """The answer to a request that failed: ``{"error": …}``, as both protocols have it."""
    return json_reply({"error": failure.reason}, failure.kind.status, failure.headers)


class Exchange:
    """One HTTP request and the way to answer it."""

    __slots__ = ("_receive", "_send", "begun", "headers", "identifier", "method", "path")

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Takes the request's id from ``X-Request-Id``, or makes one."""
        self.begun = asyncio.get_running_loop().time()
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        given = self.headers.get(b"x-request-id", b"")
        self.identifier = given.decode() if _IDENTIFIER.fullmatch(given) else secrets.token_hex(16)
        self._receive, self._send = receive, send

    @property
    def mirrored(self) -> bool:
        """Whether another version asks, which has answered its client already."""
        return self.headers.get(MIRRORED.encode()) == b"1"

    def number(self, name: bytes) -> int | None:
        """A header that is a whole number; None when it is not there."""
        given = self.headers.get(name)
        if given is None:
            return None
        if not given.isdigit() or len(given) > 15:
            raise invalid(f"header {name.decode()}: must be a whole number, not {given[:40].decode('latin-1')!r}")
        return int(given)

    async def body(self, limit: int) -> bytes:
        """The body, unpacked when it came packed: at most ``limit`` bytes either way.

        Raises:
            Failure: when it is larger, or cannot be unpacked.
        """
        if (self.number(b"content-length") or 0) > limit:
            raise _too_large(limit)
        body = await self._read(limit)
        packing = self.headers.get(b"content-encoding", b"identity").strip().lower()
        return body if packing in (b"identity", b"") else _unpacked(body, packing, limit)

    async def _read(self, limit: int) -> bytes:
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise invalid("the connection was closed within the body")
            part: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def answer(self, reply: Reply) -> None:
        """Send the answer, with the request's id."""
        length = (b"content-length", b"%d" % len(reply.body))
        identifier = (b"x-request-id", self.identifier.encode())
        headers = [*reply.headers, length, identifier]
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": reply.body})


_CLOSE: tuple[Header, ...] = ((b"connection", b"close"),)


def _too_large(limit: int) -> Failure:
    return Failure(Kind.TOO_LARGE, f"the body is larger than {limit} bytes; send fewer instances at once", _CLOSE)


def _unpacked(body: bytes, packing: bytes, limit: int) -> bytes:
    if packing not in _PACKED:
        name = packing[:40].decode("latin-1")
        raise Failure(Kind.UNSUPPORTED, f"content encoding {name!r}: send gzip, deflate or none")
    unpacker = zlib.decompressobj(wbits=_PACKED[packing])
    try:
        plain = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise invalid(f"the body is not {packing.decode()} ({error})") from None
    if len(plain) > limit:
        raise _too_large(limit)
    if not unpacker.eof or unpacker.unused_data:
        raise invalid(f"the body is not one whole {packing.decode()} stream")
    return plain
