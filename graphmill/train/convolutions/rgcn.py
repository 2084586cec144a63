"""Relational graph convolution (Schlichtkrull et al., 2018): PyTorch Geometric's layer over all relations at once.

Relations share a basis of matrices where there are more than a few of them.
"""

import torch
from torch import Tensor
from torch_geometric.nn import RGCNConv

from graphmill.train.batches import Edges
from graphmill.train.convolutions.base import Convolution, EdgeMeans, Relations

MOST_APART = 8
"""Up to so many relations have a matrix each; more share a basis of so many."""


class Rgcn(Convolution):
    """All rows stand in one list, relation by relation; edges' own inputs are added as means."""

    def __init__(self, nodes: list[str], relations: Relations, width: int, heads: int) -> None:
        super().__init__(nodes, relations, width)
        bases = MOST_APART if len(relations) > MOST_APART else None
        self.neighbours = RGCNConv(
            (width, width), width, max(len(relations), 1), num_bases=bases, root_weight=False, bias=False
        )
        self.edges = EdgeMeans(relations, width)

    def forward(self, own: dict[str, Tensor], sent: dict[str, Tensor], edges: dict[str, Edges]) -> dict[str, Tensor]:
        """The targets' next rows."""
        total = {node: self.own[node](rows) for node, rows in own.items()}
        names = self.ordered(edges)
        if names:
            begin, count = {}, 0
            for node, rows in own.items():
                begin[node], count = count, count + len(rows)
            places, kinds, sources = [], [], 0
            for name in names:
                index = edges[name].index()
                places.append(index + index.new_tensor([[sources], [begin[self.relations[name][1]]]]))
                kinds.append(index.new_full((index.shape[1],), list(self.relations).index(name)))
                sources += len(sent[name])
            both = torch.cat([sent[name] for name in names]), torch.cat(list(own.values()))
            heard = self.neighbours(both, torch.cat(places, dim=1), torch.cat(kinds))
            total = {node: total[node] + heard[begin[node] : begin[node] + len(own[node])] for node in own}
        found: dict[str, Tensor] = self.edges(total, edges)
        return found

    def listed(self, own: dict[str, Tensor], sent: dict[str, Tensor], edges: dict[str, Edges]) -> dict[str, Tensor]:
        """The same as ``forward``: the layer picks each relation's edges by a mask, which a fixed graph cannot."""
        layer = self.neighbours
        weight, width = layer.weight, layer.out_channels
        if layer.num_bases is not None:
            weight = (layer.comp @ weight.view(layer.num_bases, -1)).view(-1, width, width)
        total = {node: self.own[node](rows) for node, rows in own.items()}
        for name in self.ordered(edges):
            target = self.relations[name][1]
            heard = edges[name].average(sent[name]) @ weight[list(self.relations).index(name)]
            total[target] = total[target] + heard
        found: dict[str, Tensor] = self.edges(total, edges)
        return found
