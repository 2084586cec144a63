"""The network: GraphSAGE with a mean (Hamilton, Ying and Leskovec, 2017) over many node and edge types.

Every layer adds, to a node's own projection, the projected mean of its neighbours in each relation and of its
edges' own inputs; a residual connection and layer normalisation keep it trainable at any depth. With no layers
it is a multi-layer perceptron on the node alone.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, embedding_bag, relu

from graphmill.features.inputs import Inputs
from graphmill.params import Section
from graphmill.train.batches import Batch, Edges, Rows


class Architecture(Section):
    """Everything needed to build the network again: stored in model.json."""

    node: str
    """The task's node type."""
    hidden: int
    """Width of every layer."""
    layers: int
    """Number of hops."""
    dropout: float
    """Share of activations dropped in training."""
    inputs: dict[str, int]
    """Dense inputs of each node type."""
    embedded: dict[str, list[tuple[str, int]]]
    """Embedded columns of each node type, with their number of codes."""
    relations: dict[str, tuple[str, str, int]]
    """Source type, target type and number of edge inputs of each relation."""


def architecture(inputs: Inputs, hidden: int, layers: int, dropout: float) -> Architecture:
    """The architecture that fits a graph's inputs."""
    graph = inputs.graph
    return Architecture(
        node=graph.task.node,
        hidden=hidden,
        layers=layers,
        dropout=dropout,
        inputs={node: len(inputs.names(node)) for node in graph.nodes},
        embedded={node: inputs.embedded(node) for node in graph.nodes},
        relations={
            name: (item.source, item.target, len(inputs.edge_names(name))) for name, item in graph.relations.items()
        },
    )


def module_name(relation: str) -> str:
    """Names of torch modules have no dots."""
    return relation.replace(".", "-")


class Encoder(nn.Module):
    """A node's inputs, and the embeddings of its categories, to the hidden width."""

    def __init__(self, inputs: int, embedded: list[tuple[str, int]], hidden: int) -> None:
        super().__init__()
        widths = [min(32, max(4, round(codes**0.5))) for _, codes in embedded]
        self.tables = nn.ModuleList(
            nn.Embedding(codes, width) for (_, codes), width in zip(embedded, widths, strict=True)
        )
        self.linear = nn.Linear(inputs + sum(widths), hidden)

    def forward(self, rows: Rows) -> Tensor:
        dense, codes = rows
        parts = [table(codes[:, place]) for place, table in enumerate(self.tables)]
        return relu(self.linear(torch.cat([dense, *parts], dim=1)))


class Layer(nn.Module):
    """One hop for every node type."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        width = shape.hidden
        self.rate = shape.dropout
        self.own = nn.ModuleDict({node: nn.Linear(width, width) for node in shape.inputs})
        self.norm = nn.ModuleDict({node: nn.LayerNorm(width) for node in shape.inputs})
        self.neighbours = nn.ModuleDict(
            {module_name(name): nn.Linear(width, width, bias=False) for name in shape.relations}
        )
        self.edges = nn.ModuleDict(
            {
                module_name(name): nn.Linear(count, width, bias=False)
                for name, (_, _, count) in shape.relations.items()
                if count
            }
        )

    def forward(self, node: str, own: Tensor, messages: list[tuple[str, Tensor, Edges]]) -> Tensor:
        """Hidden rows of one node type.

        Args:
            node: the node type.
            own: ``[targets, hidden]`` of the layer before.
            messages: relation, hidden rows of its source type, and the edges between.
        """
        total = self.own[node](own)
        for relation, source, edges in messages:
            name = module_name(relation)
            total = total + self.neighbours[name](mean_of(source, edges))
            if name in self.edges:
                total = total + self.edges[name](edges.mean)
        return own + dropout(relu(self.norm[node](total)), self.rate, self.training)


class Network(nn.Module):
    """Encoders, layers and a head with one logit."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.shape = shape
        self.encoders = nn.ModuleDict(
            {node: Encoder(count, shape.embedded[node], shape.hidden) for node, count in shape.inputs.items()}
        )
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.head = nn.Linear(shape.hidden, 1)

    def start_at(self, share: float) -> None:
        """Begin with the base rate: the first epochs need not learn that positives are rare."""
        nn.init.constant_(self.head.bias, math.log(share / (1 - share)))

    def embed(self, batch: Batch) -> Tensor:
        """Embeddings of the seeds: ``[seeds, hidden]``."""
        hidden = [{node: self.encode(node, rows) for node, rows in part.items()} for part in batch.nodes]
        for layer in self.layers:
            hidden = [self._step(layer, hidden, batch, depth) for depth in range(len(hidden) - 1)]
        return hidden[0][self.shape.node]

    def forward(self, batch: Batch) -> Tensor:
        """Logits of the seeds: ``[seeds]``."""
        return self.logits(self.embed(batch))

    def encode(self, node: str, rows: Rows) -> Tensor:
        """Hidden rows before the first layer."""
        encoded: Tensor = self.encoders[node](rows)
        return dropout(encoded, self.shape.dropout, self.training)

    def logits(self, embeddings: Tensor) -> Tensor:
        """The head alone."""
        scores: Tensor = self.head(embeddings)
        return scores[:, 0]

    def _step(self, layer: Any, hidden: list[dict[str, Tensor]], batch: Batch, depth: int) -> dict[str, Tensor]:
        edges = batch.edges[depth]
        return {
            node: layer(
                node,
                own,
                [
                    (name, hidden[depth + 1][self.shape.relations[name][0]], item)
                    for name, item in edges.items()
                    if self.shape.relations[name][1] == node
                ],
            )
            for node, own in hidden[depth].items()
        }


def mean_of(source: Tensor, edges: Edges) -> Tensor:
    """Mean of each target's source rows, 0 where it has none: gather and mean in one pass."""
    return embedding_bag(edges.row, source, edges.pointer, mode="mean", include_last_offset=True)
