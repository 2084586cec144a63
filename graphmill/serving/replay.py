"""Compute answers again: ``python -m graphmill.serving.replay``, from a snapshot and the log up to an offset."""

import argparse
import json
import sys
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from graphmill.clock import text
from graphmill.errors import UserError
from graphmill.serving.instance import Instance, Options, Refusal
from graphmill.serving.scorer import now
from graphmill.serving.served import load
from graphmill.serving.source import find

INSTANCES = TypeAdapter(list[Instance])
NODES, EDGES = 4_000_000, 64_000_000
"""Room beside the snapshot, as a server has it by default."""


def main() -> int:
    """Instances on standard input, as a request's ``instances``; their answers as JSON, one a line."""
    parser = argparse.ArgumentParser(
        prog="python -m graphmill.serving.replay",
        description="Answer instances (a JSON list on standard input) from the state that a served answer names.",
    )
    parser.add_argument("--model", required=True, help="folder, version or alias of the model that answered")
    parser.add_argument("--registry", default="registry", help="the registry's home (registry)")
    parser.add_argument("--graph", type=Path, required=True, help="the snapshot that the answer names")
    parser.add_argument("--state", type=Path, required=True, help="the server's state, with its log")
    parser.add_argument("--offset", type=int, required=True, help="the offset that the answer names")
    parser.add_argument("--neighbours", type=int, default=10_000, help="as the server was told (10000)")
    parser.add_argument("--engine", default="auto", choices=("auto", "numba", "onnx"), help="as the server (auto)")
    given = parser.parse_args()
    try:
        model, version = find(given.model, given.registry)
        served = load(
            model, given.graph, given.state, NODES, EDGES, given.neighbours, given.engine, given.offset
        )  # fmt: skip
        asked = INSTANCES.validate_python(json.load(sys.stdin))
    except (UserError, ValidationError, json.JSONDecodeError) as error:
        print(f"replay: {error}", file=sys.stderr)
        return 2
    live = served.live
    for instance in asked:
        (answer,) = served.scorer.answer([instance], Options(), now(live, served.newest))
        if isinstance(answer, Refusal):
            print(json.dumps({"id": str(instance.id), "error": answer.reason}))
            continue
        told = {"id": answer.id, "score": answer.score, "decision": answer.decision, "known": answer.known}
        state = {"snapshot": served.base, "offset": served.offset, "model": version}
        print(json.dumps(told | {"at": text(answer.at, live.graph.clock)} | state))
    return 0


if __name__ == "__main__":
    sys.exit(main())
