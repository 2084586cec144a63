"""What a model sees of a node or an edge at a moment: raw values and state, through its own transforms."""

import numpy as np
from numpy.typing import NDArray

from graphmill.clock import day
from graphmill.features.store import Features
from graphmill.features.transforms import Encoder, Transform
from graphmill.graph.sample import Block
from graphmill.graph.store import Graph

Matrix = NDArray[np.float32]
Codes = NDArray[np.int64]

AGE_SCALE = 5.0
"""Edges' ages enter as log(1 + days) / 5: about 1 at half a year."""


class Inputs:
    """Gathers encoded rows: one road for training, batch scoring and serving.

    Args:
        graph: the graph, its shuffle or a newer snapshot.
        features: the features of that graph.
        transforms: the model's fitted transforms (``nodes``, ``state``, ``edges``).

    Raises:
        UserError: when the features lack a column that the transforms were fitted on.
    """

    def __init__(self, graph: Graph, features: Features, transforms: dict[str, dict[str, list[Transform]]]) -> None:
        self.graph, self.features = graph, features
        nodes, state, edges = transforms["nodes"], transforms["state"], transforms["edges"]
        self.nodes = {node: Encoder(items, features.columns.get(node, [])) for node, items in nodes.items()}
        self.state = {node: Encoder(items, features.state_fields(graph, node)) for node, items in state.items()}
        self.edges = {edge: Encoder(items, features.edge_columns.get(edge, [])) for edge, items in edges.items()}
        self.relation = {relation.name: relation for relation in graph.schema.relations()}

    def names(self, node: str) -> list[str]:
        """Names of the dense inputs of a node type."""
        return self.nodes[node].names + self.state[node].names

    def embedded(self, node: str) -> list[tuple[str, int]]:
        """Categories that need a learned embedding: (column, number of codes)."""
        return self.nodes[node].embedded

    def edge_names(self, relation: str) -> list[str]:
        """Names of the inputs of a relation's edges."""
        edge = self.relation[relation].edge
        names = self.edges[edge].names if edge else []
        return names + (["age"] if self.graph.relations[relation].time is not None else [])

    def gather(self, node: str, ids: NDArray[np.int32], times: NDArray[np.int64]) -> tuple[Matrix, Codes]:
        """Encoded rows as of their times: dense float32 ``[n, len(names)]``, codes int64 ``[n, embedded]``."""
        state = self.state[node]
        dense, codes = self.nodes[node].rows(self.features.nodes[node], ids, beside=len(state.names))
        if state.names:
            raw = self.features.state(self.graph, node, ids, times)
            state.into(raw, np.arange(len(ids), dtype=np.int32), dense, len(self.nodes[node].names), codes[:, :0])
        return dense, codes

    def static(self, node: str, ids: NDArray[np.int32]) -> tuple[Matrix, Codes]:
        """What does not depend on the time: dense float32 ``[n, inputs]`` and codes int64 ``[n, embedded]``."""
        return self.nodes[node].rows(self.features.nodes[node], ids)

    def state_of(self, node: str, ids: NDArray[np.int32], times: NDArray[np.int64]) -> Matrix:
        """What depends on the time: float32 ``[n, state inputs]``."""
        return self.state[node](self.features.state(self.graph, node, ids, times))[0]

    def gather_edges(self, relation: str, block: Block) -> Matrix:
        """Encoded edges of a block: float32 ``[edges, len(edge_names)]``."""
        edge = self.relation[relation].edge
        parts = [self.edges[edge].rows(self.features.edges[edge], block.edge_id)[0]] if edge else []
        if self.graph.relations[relation].time is not None:
            days = np.maximum(block.age, 0) / day(self.graph.clock)
            parts.append((np.log1p(days) / AGE_SCALE).astype(np.float32)[:, None])
        return np.concatenate(parts, axis=1) if parts else np.empty((len(block.edge_id), 0), np.float32)
