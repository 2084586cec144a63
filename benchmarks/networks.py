"""The yardstick: two layers of GraphSAGE with a mean, 64 → 128 → 2, on graphmill's blocks and on PyTorch Geometric."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.graphs import NODE, RELATION
from graphmill.train.batches import Edges
from graphmill.train.convolutions.sage import Sage

WIDTHS = (64, 128, 2)
RELATIONS = {RELATION: (NODE, NODE, 0)}


@dataclass(frozen=True)
class Shape:
    """What inference asks of an architecture."""

    node: str = NODE
    hidden: int = WIDTHS[0]

    @property
    def inputs(self) -> dict[str, int]:
        return {NODE: WIDTHS[0]}

    @property
    def relations(self) -> dict[str, tuple[str, str, int]]:
        return RELATIONS


class Layer(nn.Module):
    """A convolution, and a rectifier behind all but the last."""

    def __init__(self, width: int, output: int, last: bool) -> None:
        super().__init__()
        self.convolution = Sage([NODE], RELATIONS, width, output=output)
        self.last = last

    def forward(self, own: dict[str, Tensor], sent: dict[str, Tensor], edges: dict[str, Edges]) -> dict[str, Tensor]:
        rows = self.convolution(own, sent, edges)[NODE]
        return {NODE: rows if self.last else torch.relu(rows)}


class Blocks(nn.Module):
    """The yardstick on blocks: rows by depth in, rows of the seeds out."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = Shape()
        self.layers = nn.ModuleList([Layer(WIDTHS[0], WIDTHS[1], False), Layer(WIDTHS[1], WIDTHS[2], True)])

    def encode(self, node: str, rows: tuple[Tensor, Tensor]) -> Tensor:
        """Inputs as they stand."""
        return rows[0]

    def forward(self, hidden: list[Tensor], edges: list[Edges]) -> Tensor:
        for layer in self.layers:
            sent = [layer.convolution.send(RELATION, rows) for rows in hidden[1:]]
            hidden = [
                layer({NODE: hidden[depth]}, {RELATION: sent[depth]}, {RELATION: edges[depth]})[NODE]
                for depth in range(len(sent))
            ]
        return hidden[0]


class Geometric(nn.Module):
    """The yardstick on PyTorch Geometric's ``SAGEConv``, with the weights of the blocks."""

    def __init__(self, blocks: Blocks, trim: bool) -> None:
        super().__init__()
        from torch_geometric.nn import SAGEConv

        self.trim = trim
        self.layers = nn.ModuleList()
        for layer, width, output in zip(blocks.layers, WIDTHS, WIDTHS[1:], strict=False):
            convolution = SAGEConv(width, output)
            own, neighbours = layer.convolution.own[NODE], layer.convolution.neighbours[RELATION.replace(".", "-")]
            convolution.lin_l.weight.data.copy_(neighbours.weight.data)
            convolution.lin_l.bias.data.copy_(own.bias.data)
            convolution.lin_r.weight.data.copy_(own.weight.data)
            self.layers.append(convolution)

    def forward(self, rows: Tensor, edges: Tensor, nodes: Any = None, counts: Any = None) -> Tensor:
        from torch_geometric.utils import trim_to_layer

        for depth, layer in enumerate(self.layers):
            if self.trim:
                rows, edges, _ = trim_to_layer(depth, nodes, counts, rows, edges)
            rows = layer(rows, edges)
            rows = rows if depth == len(self.layers) - 1 else torch.relu(rows)
        return rows
