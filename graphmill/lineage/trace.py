"""From a served answer back to its data, its code and its numbers."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphmill import artifact
from graphmill.errors import UserError

COLUMNS = ("id", "score", "decision", "at")
WANTED = "give what the predictor returned: JSON with the model's version, snapshot and offset"


@dataclass(frozen=True)
class Answer:
    """What a served answer says of where it comes from; ``version`` is a version, or the beginning of a digest."""

    version: str
    snapshot: str
    offset: int
    scores: list[tuple[str, ...]]
    """`COLUMNS` of each prediction, as text."""


def read(content: str) -> Answer:
    """A served answer: of protocol v1 or v2, a line of `graphmill.serving.replay`, or a row of the prediction log.

    Raises:
        UserError: when it is none of those.
    """
    try:
        document = json.loads(content)
        model, graph = document.get("model"), document.get("graph") or document.get("parameters") or document
        version = model["version"] if isinstance(model, dict) else document.get("model_version", model)
        snapshot, offset = graph["snapshot"], int(graph["offset"])
        scores = list(_scores(document))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"not a served answer; {WANTED}") from None
    if not isinstance(version, str) or not isinstance(snapshot, str):
        raise UserError(f"the answer names no model version or no snapshot; {WANTED}")
    return Answer(version, snapshot, offset, scores)


def served(folder: Path, snapshot: str) -> dict[str, Any] | None:
    """The lineage of the ``features`` in ``folder``, down to graph, tables and data; None for another snapshot.

    Raises:
        UserError: when the snapshot is missing or altered.
    """
    from graphmill.serving.live.snapshot import version  # the predictor's own word, only where it is asked for

    if version(folder) != snapshot:
        return None
    artifact.read(folder / "graph", "graph")
    found = artifact.read(folder / "features", "features")
    return {"kind": "features", **found.lineage, "digest": found.digest}


def _scores(document: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The columns of each prediction; empty where the answer does not have one."""
    found = document.get("predictions", [document] if "score" in document else [])
    if "outputs" in document:  # protocol v2: a tensor each
        tensors = {item["name"]: item["data"] for item in document["outputs"] if "data" in item}
        found = [dict(zip(tensors, row, strict=True)) for row in zip(*tensors.values(), strict=True)]
    for one in found:
        named = {"id": one.get("key"), "at": one.get("time"), **one}
        yield tuple("" if named.get(name) is None else _text(named[name]) for name in COLUMNS)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
