"""KServe's ModelServer with the front before its routes and our service behind its gRPC port."""

from typing import Any

from graphmill.errors import UserError
from graphmill.serving import metrics, service
from graphmill.serving.batching import Batcher, Predictor
from graphmill.serving.framework import ModelServer, app, configure_logging
from graphmill.serving.front import Front
from graphmill.serving.limits import Limits
from graphmill.serving.model import GraphModel
from graphmill.serving.security import gate
from graphmill.serving.settings import Settings


def serve(settings: Settings) -> None:
    """Serve until told to stop; what runs then may end, see ``grace``.

    Raises:
        UserError: when the model, the graph or the token cannot be read, or a port is taken.
    """
    # read late: this is what takes long, and what the settings are checked before
    from graphmill.serving.predictor import open_predictor

    predictor: Predictor = open_predictor(settings)
    Server(settings, predictor).run()


def assemble(settings: Settings, predictor: Predictor, application: Any) -> tuple[GraphModel, Front]:
    """The model and the front around KServe's ``application``, measured."""
    batcher = Batcher(predictor, settings.queue_limit, settings.batch_limit)
    model = GraphModel(predictor, batcher, Limits.of(settings))
    metrics.WAITING.set_function(lambda: batcher.waiting)
    metrics.READY.set_function(lambda: predictor.problem() is None)
    metrics.STALENESS.set_function(lambda: predictor.graph().staleness)
    return model, Front(application, model, settings, gate(settings))


class Server(ModelServer):
    """One process, one event loop: REST, gRPC and the predictor."""

    def __init__(self, settings: Settings, predictor: Predictor) -> None:
        """Nothing listens yet."""
        configure_logging(_logging(settings))
        # gRPC is ours, see `_serve`
        super().__init__(
            http_port=settings.http_port,
            workers=1,
            enable_grpc=False,
            enable_latency_logging=settings.latency_log,
            grace_period=settings.grace,
        )
        self._settings = settings
        self._predictor = predictor
        self._model, self._front = assemble(settings, predictor, app)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; raises what kept the predictor from getting ready."""
        self.start([self._model])
        if self._model.failure is not None:
            raise self._model.failure

    def setup_event_loop(self) -> None:
        """Nothing: KServe makes a loop ready here, and then runs in another."""

    async def _serve(self) -> None:
        """Called by KServe inside the event loop, when its servers are made and none listens."""
        config = self._rest_server.config
        config.app = self._front
        config.proxy_headers = self._settings.access_log  # nothing else asks who the client is
        if self._settings.insecure_local:
            config.host = "127.0.0.1"
        try:
            if self._settings.enable_grpc:
                self._listen()
            await super()._serve()
        finally:
            await self._predictor.stop()

    def _listen(self) -> None:
        """Take the port of gRPC before anything runs; what KServe made ready is dropped when it is taken."""
        self._grpc_server = service.Server(self._settings, self._model)
        try:
            self._grpc_server.listen()
        except UserError:
            for waiting in self.servers:
                waiting.close()
            raise
        self.servers.append(self._grpc_server.start(self.max_threads))


def _logging(settings: Settings) -> dict[str, Any]:
    """Warnings, and what the settings ask for: a line a request costs as much as a small request."""
    access = {"level": "INFO", "propagate": settings.access_log}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "graphmill": {"level": "INFO"},
            "kserve": {"level": "INFO" if settings.latency_log else "WARNING"},
            "uvicorn.error": {"level": "INFO"},
            "uvicorn.access": access,
        },
    }
