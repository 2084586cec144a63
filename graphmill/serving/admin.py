"""Events into the live graph, and what its keeper may ask of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from graphmill.errors import UserError
from graphmill.serving.batching import Predictor
from graphmill.serving.exchange import Exchange, Reply, json_reply
from graphmill.serving.failure import Failure, Kind, invalid
from graphmill.serving.limits import Limits, parse
from graphmill.serving.log import NotNow
from graphmill.serving.security import Gate

_T = TypeVar("_T")

_LINES = b"application/x-ndjson"
_SHAPE = '{"events": [{"id": "…", "kind": "…", …}, …]}'


@dataclass(frozen=True)
class Admin:
    """The routes below ``/v1/graph``; each asks the gate first."""

    predictor: Predictor
    gate: Gate
    limits: Limits

    async def events(self, exchange: Exchange) -> Reply:
        """Accept events: all of them, or none when one is bad."""
        self.gate.check(exchange)
        body = await exchange.body(self.limits.body)
        events = self._events(body, exchange.headers.get(b"content-type", b"").partition(b";")[0].strip().lower())
        offsets = await _asked(lambda: self.predictor.accept(events))
        new = [offset for offset in offsets if offset is not None]
        found = {"accepted": len(new), "duplicates": len(offsets) - len(new), "offset": max(new, default=None)}
        return json_reply(found)

    def _events(self, body: bytes, kind: bytes) -> list[dict[str, Any]]:
        if kind == _LINES:
            lines = [line for line in body.split(b"\n") if line.strip()]
            self._number(len(lines))
            events = [parse(line, f"one event a line; line {place + 1} is none") for place, line in enumerate(lines)]
        elif kind == b"application/json":
            document = parse(body, _SHAPE)
            if not isinstance(document, dict) or set(document) != {"events"} or type(document["events"]) is not list:
                raise invalid(f"the body must be {_SHAPE}, and nothing else")
            events = document["events"]
            self._number(len(events))
        else:
            raise Failure(Kind.UNSUPPORTED, f"content type: send application/json or {_LINES.decode()}")
        for place, event in enumerate(events):
            if type(event) is not dict:
                raise invalid(f"events[{place}]: must be an object")
        self.limits.each(events, "events")
        return events

    def _number(self, given: int) -> None:
        if not 1 <= given <= self.limits.events:
            raise invalid(f"events: give 1 to {self.limits.events} in one request, not {given}")

    async def graph(self, exchange: Exchange) -> Reply:
        """The state of the live graph, and why predictions are not answered, if so."""
        self.gate.check(exchange)
        graph, problem = self.predictor.graph(), self.predictor.problem()
        found = {"snapshot": graph.snapshot, "offset": graph.offset, "staleness": graph.staleness}
        return json_reply(found | {"ready": problem is None, "problem": problem})

    async def compact(self, exchange: Exchange) -> Reply:
        """Write the live graph as a snapshot."""
        self.gate.check(exchange)
        return json_reply(await _asked(self.predictor.compact))

    async def reload(self, exchange: Exchange) -> Reply:
        """Read the model and the snapshot again, from where the server was told they are."""
        self.gate.check(exchange)
        return json_reply(await _asked(self.predictor.reload))


async def _asked(ask: Callable[[], Awaitable[_T]]) -> _T:
    """What the predictor says; its user's mistakes are the sender's."""
    try:
        return await ask()
    except NotNow as error:
        raise Failure(Kind.NOT_READY, str(error), ((b"retry-after", b"1"),)) from None
    except UserError as error:
        raise invalid(str(error)) from None
