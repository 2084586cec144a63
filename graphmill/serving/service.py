"""gRPC of the Open Inference Protocol: KServe's service, with readiness, deadlines and refusals that tell why."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import grpc

from graphmill import __version__
from graphmill.errors import UserError
from graphmill.serving import inference, metrics
from graphmill.serving.exchange import MIRRORED
from graphmill.serving.failure import Failure, Kind
from graphmill.serving.framework import GRPCServer, messages, stubs
from graphmill.serving.model import GraphModel, deadline_after
from graphmill.serving.remote_call import Infer
from graphmill.serving.settings import Settings

_LOG = logging.getLogger(__name__)

Method = Callable[["Service", Any, Any], Awaitable[Any]]


def _told(method: Method) -> Method:
    """Tell the client of a failure by its code and reason, and count it."""

    @wraps(method)
    async def answer(service: "Service", request: Any, context: Any) -> Any:
        try:
            return await method(service, request, context)
        except Failure as failure:
            metrics.FAILURES[_protocol(context), failure.kind].inc()
            await context.abort(grpc.StatusCode[failure.kind.code], failure.reason)
        except Exception:
            _LOG.exception("a remote call: an error")
            metrics.FAILURES[_protocol(context), Kind.INTERNAL].inc()
            await context.abort(grpc.StatusCode.INTERNAL, "an error of the server; its log has the details")

    return answer


def _metadata(context: Any) -> dict[str, Any]:
    return dict(context.invocation_metadata() or ())


def _protocol(context: Any) -> str:
    """What a call counts as."""
    return "shadow" if _metadata(context).get(MIRRORED) == "1" else "grpc"


class Service(stubs.GRPCInferenceServiceServicer):
    """The inference service; whatever the repository methods would do is not implemented here."""

    def __init__(self, model: GraphModel, deadline: int) -> None:
        """``deadline`` is the most milliseconds that a request may wait."""
        self._model = model
        self._predictor = model.predictor
        self._deadline = deadline

    def _named(self, name: str, version: str) -> None:
        known = self._predictor.name, self._predictor.version
        if name != known[0] or version not in ("", known[1]):
            wanted = f"{name[:80]!r}" + (f" version {version[:80]!r}" if version else "")
            raise Failure(Kind.NOT_FOUND, f"no model {wanted}; this server has {known[0]!r} version {known[1]!r}")

    async def ServerLive(self, request: Any, context: Any) -> Any:
        """True: this answers."""
        return messages.ServerLiveResponse(live=True)

    @_told
    async def ServerReady(self, request: Any, context: Any) -> Any:
        """Whether predictions are answered; UNAVAILABLE says why not."""
        self._model.check_ready()
        return messages.ServerReadyResponse(ready=True)

    @_told
    async def ModelReady(self, request: Any, context: Any) -> Any:
        """The same, of the model."""
        self._named(request.name, request.version)
        self._model.check_ready()
        return messages.ModelReadyResponse(ready=True)

    async def ServerMetadata(self, request: Any, context: Any) -> Any:
        """Name and version of the server."""
        return messages.ServerMetadataResponse(name="graphmill", version=__version__)

    @_told
    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        """Inputs and outputs of the model."""
        self._named(request.name, request.version)
        return messages.ModelMetadataResponse(
            name=self._predictor.name,
            versions=[self._predictor.version],
            platform="graphmill",
            inputs=inference.INPUTS,
            outputs=inference.output_types(),
        )

    @_told
    async def ModelInfer(self, request: Any, context: Any) -> Any:
        """Judge the instances."""
        begun = asyncio.get_running_loop().time()
        protocol = _protocol(context)
        metrics.REQUESTS[protocol].inc()
        given = _metadata(context).get("x-request-id", "")
        identifier = (
            given if 0 < len(given) <= 128 and given.isascii() and given.isprintable() else secrets.token_hex(16)
        )
        context.set_trailing_metadata((("x-request-id", identifier),))
        self._named(request.model_name, request.model_version)
        left = context.time_remaining()
        deadline = deadline_after(self._deadline if left is None else left * 1000, self._deadline)
        response = await self._model.answer(Infer(request, deadline, identifier), identifier, protocol == "shadow")
        metrics.SECONDS[protocol].observe(asyncio.get_running_loop().time() - begun)
        return response


class Server(GRPCServer):
    """KServe's gRPC server with our service: it stops it the same way."""

    def __init__(self, settings: Settings, model: GraphModel) -> None:
        """Nothing listens yet."""
        super().__init__(settings.grpc_port, None, None, kwargs={}, grace_period=settings.grace)
        self._service = Service(model, settings.deadline_ms)
        self._limit = settings.body_limit
        self._host = "127.0.0.1" if settings.insecure_local else "[::]"

    def listen(self) -> None:
        """Take the port, inside the event loop.

        Raises:
            UserError: when it is taken.
        """
        options = [
            ("grpc.max_receive_message_length", self._limit),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
        self._server = grpc.aio.server(options=options)
        stubs.add_GRPCInferenceServiceServicer_to_server(self._service, self._server)
        try:
            self._server.add_insecure_port(f"{self._host}:{self._port}")
        except RuntimeError:
            raise UserError(f"grpc_port: {self._port} is taken; give another") from None

    async def start(self, max_workers: int) -> None:
        """Serve until stopped; nothing here needs a thread."""
        await self._server.start()
        await self._server.wait_for_termination()
