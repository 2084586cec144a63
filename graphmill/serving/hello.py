"""Three questions that a person can paste into a shell, made from the graph that is served."""

import json
from typing import Any

import numpy as np

from graphmill.clock import ALWAYS, text
from graphmill.serving.live.store import Live

HEADER = "-H 'content-type: application/json'"


def curls(live: Live, name: str, port: int) -> list[str]:
    """A known node, a node never seen before with its reasons, and an event, each as a command that works.

    Where nodes have neither columns nor links, the reasons are those of the known one.

    Args:
        live: the graph.
        name: of the served model.
        port: of its server.
    """
    known, new, event = examples(live)
    home = f"http://127.0.0.1:{port}/v1"
    asked = (
        (f"models/{name}:predict", {"instances": [known]}),
        (f"models/{name}:explain", {"instances": [new if new["columns"] or new["links"] else known]}),
        ("graph/events", {"events": [event]}),
    )
    return [f"curl -s {HEADER} {home}/{path} -d '{_quoted(body)}'" for path, body in asked]


def examples(live: Live) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A known node and one never seen before as instances, and the event with which the latter comes to be known."""
    node = live.graph.task.node
    place = live.count(node) - 1
    key = live.names[node][place]
    new: dict[str, Any] = {"id": f"{key}-new", "columns": columns(live, node, place), "links": links(live, node, place)}
    event: dict[str, Any] = {"id": f"event-{key}-new", "kind": "node", "type": node, "key": f"{key}-new"}
    event |= {"columns": new["columns"], "links": new["links"]}
    if live.graph.schema.nodes[node].time is not None:
        born = int(live.time(node)[place])
        at = max(born, live.graph.as_of) if born != ALWAYS else live.graph.as_of
        event["time"] = new["at"] = at if live.graph.clock == "step" else text(at, live.graph.clock)
    return {"id": key}, new, event


def columns(live: Live, node: str, place: int) -> dict[str, Any]:
    """A node's columns as a client would send them; what is missing is left out."""
    raw = live.matrix(f"nodes/{node}")[place]
    found: dict[str, Any] = {}
    for field, value in zip(live.features.columns[node], raw.tolist(), strict=True):
        if np.isnan(value) or field.kind == "calendar":
            continue
        if field.kind == "category":
            found[field.name] = (field.vocabulary or [])[int(value)]
        elif field.kind == "vector":
            found.setdefault(field.name.rpartition("[")[0], []).append(value)
        else:
            found[field.name] = bool(value) if field.kind == "boolean" else float(f"{value:.6g}")
    return found


def links(live: Live, node: str, place: int) -> dict[str, str]:
    """What a node links to, by column, as far as the graph holds it."""
    found = {}
    for column, link in live.graph.schema.nodes[node].links.items():
        for relation in live.of[node, column]:
            rows = live.rows[relation.name]
            if relation.reversed and rows.first[place] < rows.last[place]:
                found[column] = live.names[link.node][int(rows.indices[rows.first[place]])]
    return found


def _quoted(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False).replace("'", "'\\''")
