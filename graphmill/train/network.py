"""The network: an encoder a node type, convolutions over many node and edge types, and a head.

A residual connection and layer normalisation around every convolution keep it trainable at any depth. With no
layers it is a multi-layer perceptron on the node alone.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, relu

from graphmill.features.inputs import Inputs
from graphmill.graph.sample import Fanout, follows
from graphmill.params import Section
from graphmill.train.batches import Batch, Edges, Rows
from graphmill.train.convolutions import make
from graphmill.train.params import Network as Shape


class Architecture(Section):
    """Everything needed to build the network again: stored in model.json."""

    kind: str
    """Of the convolutions; a perceptron has none."""
    node: str
    """The task's node type."""
    hidden: int
    """Width of every layer."""
    heads: int
    """Attention heads, where the kind has them."""
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


def architecture(inputs: Inputs, params: Shape, hops: list[Fanout]) -> Architecture:
    """The architecture that fits a graph's inputs, over the relations that are followed."""
    graph = inputs.graph
    followed = {name: item for name, item in graph.relations.items() if all(follows(hop, name) for hop in hops)}
    return Architecture(
        node=graph.task.node,
        kind=params.kind,
        hidden=params.hidden,
        heads=params.heads,
        layers=len(hops),
        dropout=params.dropout,
        inputs={node: len(inputs.names(node)) for node in graph.nodes},
        embedded={node: inputs.embedded(node) for node in graph.nodes},
        relations={name: (item.source, item.target, len(inputs.edge_names(name))) for name, item in followed.items()},
    )


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
    """One hop for every node type: a convolution, and what keeps it trainable at any depth."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.rate = shape.dropout
        self.convolution = make(shape.kind, list(shape.inputs), shape.relations, shape.hidden, shape.heads)
        self.norm = nn.ModuleDict({node: nn.LayerNorm(shape.hidden) for node in shape.inputs})

    def forward(self, own: dict[str, Tensor], sent: dict[str, Tensor], edges: dict[str, Edges]) -> dict[str, Tensor]:
        """Hidden rows of the targets, from their own, what their relations send, and the edges between."""
        total = self.convolution(own, sent, edges)
        return {
            node: rows + dropout(relu(self.norm[node](total[node])), self.rate, self.training)
            for node, rows in own.items()
        }


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

    @property
    def apart(self) -> bool:
        """Whether batches must bring every edge's own inputs, not their mean alone."""
        layers: list[Any] = list(self.layers)
        return any(layer.convolution.apart for layer in layers)

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
        sent = {name: layer.convolution.send(name, hidden[depth + 1][self.shape.relations[name][0]]) for name in edges}
        found: dict[str, Tensor] = layer(hidden[depth], sent, edges)
        return found
