"""The least a KServe model can do, to tell the cost of the server alone: `python -m benchmarks.echo stock|front`.

Both answer a constant for every id; `stock` is KServe's ModelServer as it comes, `front` is ours.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

NAME = "echo"


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.echo", description=__doc__)
    parser.add_argument("kind", choices=("stock", "front"))
    parser.add_argument("--http_port", type=int, default=8080)
    parser.add_argument("--grpc_port", type=int, default=8081)
    parser.add_argument("--quiet", action="store_true", help="stock without its log lines")
    given = parser.parse_args()
    sys.argv = sys.argv[:1]
    (_stock if given.kind == "stock" else _front)(given)


def _stock(given: argparse.Namespace) -> None:
    from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
    from kserve.logging import configure_logging

    class Echo(Model):
        def __init__(self) -> None:
            super().__init__(NAME)
            self.ready = True

        async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
            if not isinstance(payload, InferRequest):
                return {"predictions": [_prediction(instance["id"]) for instance in payload["instances"]]}
            number = payload.inputs[0].shape[0]
            output = InferOutput("score", [number], "FP64", [0.5] * number)
            return InferResponse(payload.id or "", self.name, [output])

    if given.quiet:
        handlers = {"none": {"class": "logging.NullHandler"}}
        kserve = {"level": "WARNING", "handlers": ["none"]}
        configure_logging({"version": 1, "handlers": handlers, "loggers": {"kserve": kserve}})
    server = ModelServer(
        http_port=given.http_port,
        grpc_port=given.grpc_port,
        enable_latency_logging=not given.quiet,
    )
    server.start([Echo()])


def _front(given: argparse.Namespace) -> None:
    from graphmill.serving.instance import Answer, GraphVersion, Instance, Options
    from graphmill.serving.server import Server
    from graphmill.serving.settings import Settings

    class Echo:
        name, version = NAME, "1"

        def answer(self, instances: Sequence[Instance], options: Options) -> list[Answer]:
            return [Answer(str(instance.id), 0.5, True, True, 0) for instance in instances]

        def graph(self) -> GraphVersion:
            return GraphVersion("none", 0, 0.0)

        def problem(self) -> None:
            return None

        blocked = problem

        def mirror(self, *answered: Any) -> None:
            pass

        def record(self, *answered: Any) -> None:
            return None

        def moment(self, at: int) -> int:
            return at

        async def start(self) -> None:
            return None

        stop = start

    ports = {"http_port": given.http_port, "grpc_port": given.grpc_port}
    Server(Settings.parse({"model": ".", "graph": ".", **ports}), Echo()).run()


def _prediction(key: str) -> dict[str, Any]:
    return {"id": key, "score": 0.5, "decision": True, "known": True, "at": 0}


if __name__ == "__main__":
    main()
