"""What stands before KServe's routes: it answers the inference protocols itself and lets little else through.

KServe 0.21 takes some requests for bytes or for wrong that are neither, answers 500 or 422 for a sender's
mistake, is always ready, and lets anyone unload the model. Only what is named here can be reached.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from graphmill import __version__
from graphmill.serving import inference, metrics
from graphmill.serving.admin import Admin
from graphmill.serving.exchange import Exchange, Message, Receive, Reply, Send, json_reply, refusal
from graphmill.serving.failure import Failure, Kind
from graphmill.serving.limits import Limits
from graphmill.serving.model import GraphModel, deadline_after
from graphmill.serving.open_inference import Infer
from graphmill.serving.rest import Predict
from graphmill.serving.security import Gate
from graphmill.serving.settings import Settings

_LOG = logging.getLogger(__name__)
_PASSED = "/metrics"
"""What KServe answers."""

Application = Callable[[Message, Receive, Send], Awaitable[None]]
Handler = Callable[[Exchange], Awaitable[Reply]]


class Front:
    """An ASGI application around KServe's."""

    def __init__(self, application: Application, model: GraphModel, settings: Settings, gate: Gate) -> None:
        """``application`` is KServe's own, with its routes."""
        self._application = application
        self._model = model
        self._predictor = model.predictor
        self._deadline = settings.deadline_ms
        self._limits = Limits.of(settings)
        self._routes = self._routed(Admin(model.predictor, gate, self._limits))

    def _routed(self, admin: Admin) -> dict[str, tuple[str, str, Handler]]:
        """Path to protocol, method and handler."""
        first, second = f"/v1/models/{self._predictor.name}", f"/v2/models/{self._predictor.name}"
        return {
            f"{first}:predict": ("v1", "POST", self._predict),
            f"{first}:explain": ("v1", "POST", self._explain),
            f"{second}/infer": ("v2", "POST", self._infer),
            "/": ("state", "GET", _alive),
            first: ("state", "GET", self._ready),
            "/v1/models": ("state", "GET", self._models),
            "/v2": ("state", "GET", self._server),
            "/v2/health/live": ("state", "GET", _live),
            "/v2/health/ready": ("state", "GET", self._server_ready),
            "/v2/models": ("state", "GET", self._models),
            second: ("state", "GET", self._metadata),
            f"{second}/ready": ("state", "GET", self._ready),
            "/v1/graph": ("admin", "GET", admin.graph),
            "/v1/graph/events": ("admin", "POST", admin.events),
            "/v1/graph/compact": ("admin", "POST", admin.compact),
            "/v1/graph/reload": ("admin", "POST", admin.reload),
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it to KServe."""
        if scope["type"] != "http" or (scope["path"] == _PASSED and scope["method"] == "GET"):
            await self._application(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        protocol, handler = self._route(exchange)
        if exchange.mirrored and protocol in ("v1", "v2"):
            protocol = "shadow"
        metrics.REQUESTS[protocol].inc()
        try:
            reply = await handler(exchange)
        except Failure as failure:
            metrics.FAILURES[protocol, failure.kind].inc()
            reply = refusal(failure)
        except Exception:
            _LOG.exception("request %s: an error", exchange.identifier)
            metrics.FAILURES[protocol, Kind.INTERNAL].inc()
            reply = refusal(Failure(Kind.INTERNAL, f"an error of the server; its log has {exchange.identifier}"))
        await exchange.answer(reply)
        metrics.SECONDS[protocol].observe(asyncio.get_running_loop().time() - exchange.begun)

    def _route(self, exchange: Exchange) -> tuple[str, Handler]:
        """Protocol and handler; where there is none, one that says so."""
        route = self._routes.get(exchange.path) or self._routes.get(self._unversioned(exchange.path))
        if exchange.path == _PASSED:
            return "state", partial(_wrong_method, "GET")
        if route is None:
            return "v2" if exchange.path.startswith("/v2") else "v1", self._missing
        protocol, method, handler = route
        return protocol, handler if method == exchange.method else partial(_wrong_method, method)

    def _unversioned(self, path: str) -> str:
        """The path without the version of the model that is served."""
        model, found, rest = path.partition("/versions/")
        version, _, what = rest.partition("/")
        return f"{model}/{what}".rstrip("/") if found and version == self._predictor.version else path

    async def _missing(self, exchange: Exchange) -> Reply:
        name, version, path = self._predictor.name, self._predictor.version, exchange.path[:200]
        raise Failure(Kind.NOT_FOUND, f"nothing at {path!r}; this server has model {name!r} version {version!r}")

    async def _predict(self, exchange: Exchange) -> Reply:
        return await self._judge(exchange, False)

    async def _explain(self, exchange: Exchange) -> Reply:
        return await self._judge(exchange, True)

    async def _judge(self, exchange: Exchange, explain: bool) -> Reply:
        deadline = self._until(exchange)
        body = await exchange.body(self._limits.body)
        reply: Reply = await self._model.answer(
            Predict(body, deadline, explain), exchange.identifier, exchange.mirrored
        )
        return reply

    async def _infer(self, exchange: Exchange) -> Reply:
        deadline = self._until(exchange)
        head = exchange.number(b"inference-header-content-length")
        body = await exchange.body(self._limits.body)
        call = Infer(body, deadline, exchange.identifier, head)
        reply: Reply = await self._model.answer(call, exchange.identifier, exchange.mirrored)
        return reply

    def _until(self, exchange: Exchange) -> float:
        asked = exchange.number(b"x-request-timeout-ms")
        return deadline_after(self._deadline if asked is None else asked, self._deadline)

    async def _ready(self, exchange: Exchange) -> Reply:
        self._model.check_ready()
        return json_reply({"name": self._predictor.name, "ready": True})

    async def _server_ready(self, exchange: Exchange) -> Reply:
        self._model.check_ready()
        return json_reply({"ready": True})

    async def _models(self, exchange: Exchange) -> Reply:
        return json_reply({"models": [self._predictor.name]})

    async def _server(self, exchange: Exchange) -> Reply:
        return json_reply({"name": "graphmill", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def _metadata(self, exchange: Exchange) -> Reply:
        return json_reply(
            {
                "name": self._predictor.name,
                "versions": [self._predictor.version],
                "platform": "graphmill",
                "inputs": inference.INPUTS,
                "outputs": inference.output_types(),
            }
        )


async def _alive(exchange: Exchange) -> Reply:
    return json_reply({"status": "alive"})


async def _live(exchange: Exchange) -> Reply:
    return json_reply({"live": True})


async def _wrong_method(allowed: str, exchange: Exchange) -> Reply:
    headers = ((b"allow", allowed.encode()),)
    raise Failure(Kind.WRONG_METHOD, f"{exchange.method[:20]} is not for this path; use {allowed}", headers)
