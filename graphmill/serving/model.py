"""The model as KServe knows it: its hooks decode, ask and encode, whatever the protocol."""

import asyncio
import signal
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from graphmill.serving import metrics
from graphmill.serving.batching import Answered, Batcher, Predictor
from graphmill.serving.exchange import MIRRORED
from graphmill.serving.failure import Failure, Kind
from graphmill.serving.framework import InferenceVerb, Model
from graphmill.serving.instance import Instance, Options
from graphmill.serving.limits import Limits


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read: what every protocol comes down to."""

    instances: list[Instance]
    options: Options = field(default_factory=Options)
    outputs: tuple[str, ...] = ()
    """Names of the tensors wanted, where the protocol has tensors."""


class Call(Protocol):
    """One request in the words of its protocol."""

    @property
    def deadline(self) -> float:
        """Until when it must have had its turn, in seconds of the event loop's clock."""

    @property
    def explain(self) -> bool:
        """Whether it came to the route for explanations."""

    def decode(self, limits: Limits) -> Asked:
        """Read it; raises `Failure` for what its sender has to mend."""

    def encode(self, asked: Asked, answered: Answered) -> Any:
        """The answer in the same words."""


class GraphModel(Model):
    """A predictor behind KServe's hooks, so that KServe's own metrics stay.

    The front and the gRPC service call it with a `Call`; KServe's own inference routes are not reachable.
    """

    def __init__(self, predictor: Predictor, batcher: Batcher, limits: Limits) -> None:
        """Registered as ready; whether it is, `healthy` says."""
        super().__init__(predictor.name)
        self.predictor = predictor
        self.ready = True
        self.engine = True
        self._batcher = batcher
        self._limits = limits
        self._starting: asyncio.Future[None] | None = None
        self.failure: BaseException | None = None

    async def healthy(self) -> bool:
        """Whether predictions are answered."""
        return self.predictor.problem() is None

    async def start_engine(self) -> None:
        """Get the predictor ready while the ports are open already; where it cannot, `failure` says why."""
        self._starting = asyncio.ensure_future(self.predictor.start())
        await asyncio.wait([self._starting])
        self.failure = None if self._starting.cancelled() else self._starting.exception()
        if self.failure is not None:
            await asyncio.sleep(0)  # by then both servers have begun, and end as they always do
            signal.raise_signal(signal.SIGTERM)

    def stop_engine(self) -> None:
        """Called when the server is told to stop: what is not ready by then need not become so."""
        if self._starting is not None:
            self._starting.cancel()

    def check_ready(self) -> None:
        """Raises `Failure` with the reason when the server is not ready."""
        _refuse(self.predictor.problem())

    def check_open(self) -> None:
        """Raises `Failure` with the reason when questions cannot be answered."""
        _refuse(self.predictor.blocked())

    async def answer(self, call: Call, request: str, mirrored: bool = False) -> Any:
        """The encoded answer to a call; ``request`` is its id, ``mirrored`` whether another version passed it on.

        Raises:
            Failure: when it is not answered.
        """
        self.check_open()
        verb = InferenceVerb.EXPLAIN if call.explain else InferenceVerb.PREDICT
        headers = {"x-request-id": request, MIRRORED: "1"} if mirrored else {"x-request-id": request}
        response, _ = await self(call, headers, verb)
        return response

    def validate(self, payload: Any) -> Any:
        """Nothing: `preprocess` has read it."""
        return payload

    def preprocess(self, payload: Call, headers: Any = None) -> tuple[Call, Asked]:
        """Read the request."""
        begun = time.perf_counter()
        asked = payload.decode(self._limits)
        metrics.STAGE["decode"].observe(time.perf_counter() - begun)
        return payload, asked

    async def predict(self, payload: tuple[Call, Asked], headers: Any = None) -> tuple[Call, Asked, Answered]:
        """Wait for the request's turn and its answers."""
        call, asked = payload
        answered = await self._batcher.ask(asked.instances, asked.options, call.deadline)
        headers = headers or {}
        request = str(headers.get("x-request-id", ""))
        self.predictor.record(request, asked.instances, answered.answers, answered.graph)
        if not call.explain and MIRRORED not in headers:
            self.predictor.mirror(request, asked.instances, answered.answers)
        return call, asked, answered

    async def explain(self, payload: tuple[Call, Asked], headers: Any = None) -> tuple[Call, Asked, Answered]:
        """The same: what is wanted stands in the request."""
        return await self.predict(payload, headers)

    def postprocess(self, result: tuple[Call, Asked, Answered], headers: Any = None) -> Any:
        """Write the answer."""
        begun = time.perf_counter()
        call, asked, answered = result
        response = call.encode(asked, answered)
        metrics.STAGE["encode"].observe(time.perf_counter() - begun)
        return response


def _refuse(reason: str | None) -> None:
    if reason is not None:
        raise Failure(Kind.NOT_READY, reason, ((b"retry-after", b"1"),))


def deadline_after(milliseconds: float, most: int) -> float:
    """The moment ``milliseconds`` from now, ``most`` at the latest, in seconds of the event loop's clock."""
    return asyncio.get_running_loop().time() + min(milliseconds, most) / 1000
