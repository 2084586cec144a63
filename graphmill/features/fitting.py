"""Fitting transforms on the training part only: rows that were there at its end, moments within it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graphmill.artifact import Artifact
from graphmill.clock import moment
from graphmill.features.store import Features
from graphmill.features.transforms import Transform, fit
from graphmill.graph.sampler import Sampler
from graphmill.graph.store import Graph
from graphmill.task import TemporalSplit

if TYPE_CHECKING:
    from graphmill.features import Params

SAMPLE = 4_096
FANOUTS = (5, 5)

Fitted = dict[str, dict[str, list[Transform]]]


def fit_all(
    graph: Graph, folder: Path, manifest: dict[str, Any], examples: pd.DataFrame, params: "Params"
) -> list[dict[str, Any]]:
    """The transforms of every split, as JSON values: ``nodes``, ``edges`` and ``state``, by type."""
    features = Features(Artifact(folder, "features", manifest, "", {}))
    return [_plain(_fit_split(graph, features, examples, split, params)) for split in range(manifest["splits"])]


def _fit_split(graph: Graph, features: Features, examples: pd.DataFrame, split: int, params: "Params") -> Fitted:
    train = examples[examples[f"split_{split}"] == "train"]
    nodes, edges, state = {}, {}, {}
    for node, fields in features.columns.items():
        rows = _training_nodes(graph, node, examples, split)
        nodes[node] = fit(fields, features.nodes[node][rows], params.scale, params.one_hot_limit)
    for edge, fields in features.edge_columns.items():
        rows = _training_edges(graph, edge)
        edges[edge] = fit(fields, features.edges[edge][rows], params.scale, params.one_hot_limit)
    for node, (ids, times) in _neighbourhoods(graph, train, params.seed).items():
        raw = features.state(graph, node, ids, times)
        state[node] = fit(features.state_fields(graph, node), raw, params.scale, params.one_hot_limit)
    return {"nodes": nodes, "edges": edges, "state": state}


def train_end(graph: Graph) -> int:
    """The moment at which the training part of a temporal split ends."""
    assert isinstance(graph.task.split, TemporalSplit)
    return moment(graph.task.split.train_end, graph.clock, "task.split.train_end", graph.as_of)


def _training_nodes(graph: Graph, node: str, examples: pd.DataFrame, split: int) -> NDArray[np.bool_]:
    time = graph.node_time(node)
    if isinstance(graph.task.split, TemporalSplit):
        return time < train_end(graph)
    rows = np.ones(len(time), bool)
    if node == graph.task.node:
        held_out = examples[f"split_{split}"].isin(["validation", "test"])
        rows[examples.loc[held_out, "node"]] = False
    return rows


def _training_edges(graph: Graph, edge: str) -> Any:
    """Rows of the edge table that were there at the training end."""
    name = next(relation.name for relation in graph.schema.relations() if relation.edge == edge)
    adjacency = graph.relations[name]
    if adjacency.time is None or not isinstance(graph.task.split, TemporalSplit):
        return slice(None)
    end = train_end(graph)
    return np.unique(adjacency.edge_id[np.flatnonzero(adjacency.time < end)])


def _neighbourhoods(
    graph: Graph, train: pd.DataFrame, seed: int
) -> dict[str, tuple[NDArray[np.int32], NDArray[np.int64]]]:
    """Nodes and times that training would look at, of every type, sampled around training examples."""
    picked = train.sample(min(len(train), SAMPLE), random_state=seed)
    sampler = Sampler(graph, FANOUTS, seed=seed)
    sample = sampler.sample(graph.task.node, picked["node"].to_numpy(), picked["time"].to_numpy())
    found: dict[str, list[Any]] = {node: [] for node in graph.nodes}
    for frontiers in sample.frontiers:
        for node, frontier in frontiers.items():
            found[node].append(frontier)
    empty = (np.empty(0, np.int32), np.empty(0, np.int64))
    return {
        node: (np.concatenate([part.ids for part in parts]), np.concatenate([part.times for part in parts]))
        if parts
        else empty
        for node, parts in found.items()
    }


def _plain(fitted: Fitted) -> dict[str, Any]:
    return {
        part: {name: [item.canonical() for item in items] for name, items in types.items()}
        for part, types in fitted.items()
    }
