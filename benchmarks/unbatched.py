"""Our model under KServe's own server, one forward a request: `python -m benchmarks.unbatched MODEL SNAPSHOT`."""

import argparse
import sys
from pathlib import Path
from typing import Any

NAME = "model"


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unbatched", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("snapshot", type=Path)
    parser.add_argument("--http_port", type=int, default=8080)
    parser.add_argument("--grpc_port", type=int, default=8081)
    given = parser.parse_args()
    sys.argv = sys.argv[:1]
    from kserve import Model as KServeModel
    from kserve import ModelServer
    from kserve.logging import configure_logging

    from graphmill.model import Model
    from graphmill.serving.instance import Answer, Instance, Options
    from graphmill.serving.served import load

    served = load(Model.open(given.model), given.snapshot, None, 1_000, 10_000, 10_000, "auto")

    class Plain(KServeModel):
        def __init__(self) -> None:
            super().__init__(NAME)
            self.ready = True

        async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
            asked = [Instance(**instance) for instance in payload["instances"]]
            answers = served.scorer.answer(asked, Options(), served.newest)
            return {"predictions": [_told(answer) for answer in answers if isinstance(answer, Answer)]}

    handlers = {"none": {"class": "logging.NullHandler"}}
    configure_logging({"version": 1, "handlers": handlers, "loggers": {"kserve": {"level": "WARNING"}}})
    ModelServer(http_port=given.http_port, grpc_port=given.grpc_port, enable_latency_logging=False).start([Plain()])


def _told(answer: Any) -> dict[str, Any]:
    return {"id": answer.id, "score": answer.score, "decision": answer.decision, "known": answer.known, "at": answer.at}


if __name__ == "__main__":
    main()
