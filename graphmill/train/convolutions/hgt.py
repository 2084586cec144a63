"""The heterogeneous graph transformer (Hu, Dong, Wang and Sun, 2020): PyTorch Geometric's layer."""

import math
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import gelu
from torch_geometric.nn import HGTConv
from torch_geometric.utils import softmax

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

    def listed(self, own: dict[str, Tensor], sent: dict[str, Tensor], edges: dict[str, Edges]) -> dict[str, Tensor]:
        """The same as ``forward``: the layer sorts relations by type at run time, which a fixed graph cannot."""
        total = {node: self.own[node](rows) for node, rows in own.items()}
        if self.attention is not None and self.ordered(edges):
            for node in own:
                if node in self.attention.dst_node_types:
                    total[node] = total[node] + self._heard(node, own[node], sent, edges)
        found: dict[str, Tensor] = self.edges(total, edges)
        return found

    def _heard(self, node: str, rows: Tensor, sent: dict[str, Tensor], edges: dict[str, Edges]) -> Tensor:
        """What the nodes of one type hear by all relations into it."""
        layer = cast(HGTConv, self.attention)
        heads, width = layer.heads, layer.out_channels // layer.heads
        query = layer.kqv_lin.lins[node](rows).tensor_split(3, dim=1)[1].view(-1, heads, width)
        weights, values, targets = [rows.new_zeros((0, heads))], [rows.new_zeros((0, heads, width))], []
        for name in self.ordered(edges):
            source, _, target = self.types[name]
            if target != node:
                continue
            row, place = edges[name].index()
            key, _, value = layer.kqv_lin.lins[source](sent[name]).tensor_split(3, dim=1)
            kind = torch.arange(heads) * len(layer.edge_types) + layer.edge_types_map[self.types[name]]
            key, value = (
                torch.einsum("nhd,hde->nhe", part.view(-1, heads, width), rel.weight[kind])[row]
                for part, rel in ((key, layer.k_rel), (value, layer.v_rel))
            )
            weights.append((query[place] * key).sum(-1) * layer.p_rel["__".join(self.types[name])] / math.sqrt(width))
            values.append(value)
            targets.append(place)
        if not targets:
            summed = rows.new_zeros(rows.shape)
        else:
            index = torch.cat(targets)
            share = softmax(torch.cat(weights), index, num_nodes=rows.shape[0])
            parts = (torch.cat(values) * share[:, :, None]).flatten(1)
            summed = rows.new_zeros(rows.shape).scatter_add(0, index[:, None].expand_as(parts), parts)
        heard = layer.out_lin.lins[node](gelu(summed))
        kept = layer.skip[node].sigmoid()
        found: Tensor = kept * heard + (1 - kept) * rows
        return found
