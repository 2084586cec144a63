"""The heterogeneous graph transformer (Hu, Dong, Wang and Sun, 2020): PyTorch Geometric's layer."""

import torch
from torch import Tensor
from torch_geometric.nn import HGTConv

from graphmill.train.batches import Edges
from graphmill.train.convolutions.base import Convolution, EdgeMeans, Relations, module_name


class Hgt(Convolution):
    """A target attends over the edges of all relations at once; edges' own inputs are added as means."""

    def __init__(self, nodes: list[str], relations: Relations, width: int, heads: int) -> None:
        super().__init__(nodes, relations, width)
        self.types = {name: (source, module_name(name), target) for name, (source, target, _) in relations.items()}
        self.attention = HGTConv(width, width, (nodes, list(self.types.values())), heads) if relations else None
        self.edges = EdgeMeans(relations, width)

    def forward(self, own: dict[str, Tensor], sent: dict[str, Tensor], edges: dict[str, Edges]) -> dict[str, Tensor]:
        """The targets' next rows."""
        total = {node: self.own[node](rows) for node, rows in own.items()}
        names = self.ordered(edges)
        if self.attention is not None and names:
            # the layer knows one list of rows a type: first the targets, then what each relation sends
            parts = {node: [rows] for node, rows in own.items()}
            index = {}
            for name in names:
                source = self.relations[name][0]
                before = sum(len(part) for part in parts.setdefault(source, []))
                parts[source].append(sent[name])
                place = edges[name].index()
                index[self.types[name]] = place + place.new_tensor([[before], [0]])
            heard = self.attention({node: torch.cat(rows) for node, rows in parts.items()}, index)
            for node, rows in own.items():
                if heard.get(node) is not None:
                    total[node] = total[node] + heard[node][: len(rows)]
        found: dict[str, Tensor] = self.edges(total, edges)
        return found
