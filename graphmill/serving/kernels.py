"""Compile every kernel of the predictor: ``python -m graphmill.serving.kernels --model M --graph G``.

An image is built with it over any small model and graph: kernels are compiled once for all schemas.
"""

import argparse
import dataclasses
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graphmill import compiled
from graphmill.clock import text
from graphmill.errors import UserError
from graphmill.model import Model
from graphmill.progress import say
from graphmill.serving.hello import columns, examples
from graphmill.serving.instance import Instance, Options
from graphmill.serving.live import snapshot
from graphmill.serving.live.store import Live
from graphmill.serving.served import Served, load

ROOM = 100_000
"""For new nodes and edges beside the graph."""
EVERYTHING = Options(embedding=True, explanation=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 2 for what the user must mend."""
    parser = argparse.ArgumentParser(prog="python -m graphmill.serving.kernels", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a model folder; each of its models is computed")
    parser.add_argument("--graph", type=Path, required=True, help="folder above graph/ and features/")
    parser.add_argument("--hidden", type=Path, nargs="*", default=[], help="folders of predictions with hidden rows")
    given = parser.parse_args(arguments)
    try:
        model = Model.open(given.model)
        for name in model.names:
            exercise(won_by(model, name), given.graph, given.hidden if name == "sage" else [])
    except UserError as error:
        print(f"graphmill.serving.kernels: {error}", file=sys.stderr)
        return 2
    folder = Path(os.environ[compiled.FOLDER])
    say(f"kernels: {len(list(folder.rglob('*.nbc')))} compiled for {', '.join(model.names)} in {folder}")
    return 0


def won_by(model: Model, name: str) -> Model:
    """The same model folder, as if another of its models were the best."""
    return Model(dataclasses.replace(model.artifact, manifest=model.manifest | {"winner": name}))


def exercise(model: Model, graph: Path, hidden: Sequence[Path] = ()) -> None:
    """Do once all that a predictor does with its model: answer, explain, take events in, compact, read it again.

    Args:
        model: the model folder.
        graph: the folder above ``graph/`` and ``features/``.
        hidden: folders of predictions with stored hidden rows of this model.

    Raises:
        UserError: when the model or the graph cannot be read.
    """
    served = load(model, graph, None, ROOM, ROOM, 0, "auto")
    _ask(served)
    came = events(served.live)
    served.apply(0, came)
    _ask(served)
    for predictions in hidden:
        near = load(model, graph, None, ROOM, ROOM, 0, "auto", predictions=predictions)
        near.apply(0, came)
        while near.renew():
            pass
        _ask(near)
    with tempfile.TemporaryDirectory() as folder:
        newer = Path(folder) / "snapshot"
        snapshot.write(served.live, snapshot.Origin(served.base, len(came), served.newest), newer)
        again = load(model, newer, None, ROOM, ROOM, 0, "auto")
        again.apply(again.offset, came[:1])
        _ask(again)


def events(live: Live) -> list[dict[str, Any]]:
    """A new node, another that changes, an edge of every table, and a label."""
    known, _, new = examples(live)
    node, at = live.graph.task.node, live.graph.as_of
    time: Any = at if live.graph.clock == "step" else text(at, live.graph.clock)
    changed = {"kind": "node", "type": node, "key": known["id"], "columns": columns(live, node, 0)}
    found = [new, changed | ({"time": time} if live.graph.schema.nodes[node].time is not None else {})]
    for name, edge in live.graph.schema.edges.items():
        ends = {"source": live.names[edge.source_node][0], "target": live.names[edge.target_node][-1]}
        found.append({"kind": "edge", "type": name, **ends, **({"time": time} if edge.time is not None else {})})
    found.append({"kind": "label", "key": new["key"], "value": True})
    return [event | {"id": f"event {place}"} for place, event in enumerate(found)]


def _ask(served: Served) -> None:
    known, new, _ = examples(served.live)
    now = served.newest + 1
    for asked in ([known], [known, new]):
        served.scorer.answer([Instance(**item) for item in asked], EVERYTHING, now)


if __name__ == "__main__":
    sys.exit(main())
