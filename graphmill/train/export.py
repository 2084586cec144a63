"""A network as ONNX, for a server without torch: the same modules over lists of edges instead of pointers.

Means become a gather and a scatter that adds: what the batches of training use has no ONNX operator and would become
a loop, fifty times slower. Every size is left open, 0 included.
"""

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from graphmill.graph.plan import Plan
from graphmill.graph.sample import Fanout
from graphmill.graph.store import Graph
from graphmill.train.batches import Batch, Edges
from graphmill.train.convolutions.base import Convolution
from graphmill.train.network import Network
from graphmill.train.scatter import by_row

OPSET = 18


class Listed(Edges):
    """Edges as two lists, source row and target row."""

    def __init__(self, row: Tensor, target: Tensor, own: Tensor, targets: Any) -> None:
        object.__setattr__(self, "target", target)
        object.__setattr__(self, "targets", targets)
        super().__init__(row, row, own, self._mean(own, target, targets))

    def average(self, rows: Tensor) -> Tensor:
        """Mean of each target's source rows, 0 where it has none."""
        return self._mean(rows[self.row], self.target, self.targets)  # type: ignore[attr-defined]

    def index(self) -> Tensor:
        """Source rows above target rows."""
        return torch.stack([self.row, self.target])  # type: ignore[attr-defined]

    @staticmethod
    def _mean(sent: Tensor, target: Tensor, targets: Any) -> Tensor:
        total = sent.new_zeros((targets, sent.shape[1])).scatter_add(0, target[:, None].expand_as(sent), sent)
        count = sent.new_zeros(targets).scatter_add(0, target, sent.new_ones(sent.shape[0]))
        return total / count.clamp(min=1)[:, None]


class Exported(nn.Module):
    """The network with its inputs as one list of tensors, in the order of ``names``."""

    def __init__(self, network: Network, names: list[str], steps: list[tuple[int, str, str]]) -> None:
        super().__init__()
        self.network, self.names, self.steps = network, names, steps

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings ``[seeds, hidden]`` and logits ``[seeds]``."""
        given = dict(zip(self.names, tensors, strict=True))
        nodes: list[dict[str, Any]] = []
        for depth in range(self.network.shape.layers + 1):  # relations may end before the layers do
            kinds = [node for node in self.network.shape.inputs if f"rows.{depth}.{node}" in given]
            nodes.append({node: self._rows(given, depth, node) for node in kinds})
        edges: list[dict[str, Edges]] = [{} for _ in nodes[1:]]
        for depth, relation, target in self.steps:
            row, where = given[f"source.{depth}.{relation}"], given[f"target.{depth}.{relation}"]
            own = given.get(f"edges.{depth}.{relation}")
            rows = nodes[depth][target][0]
            inputs = rows.new_zeros((row.shape[0], 0)) if own is None else own
            edges[depth][relation] = Listed(row, where, inputs, rows.shape[0])
        embedded = self.network.embed(Batch(nodes, edges))
        return embedded, self.network.logits(embedded)

    def _rows(self, given: dict[str, Tensor], depth: int, node: str) -> tuple[Tensor, Tensor]:
        dense = given[f"rows.{depth}.{node}"]
        codes = given.get(f"codes.{depth}.{node}")
        return dense, dense.new_zeros((dense.shape[0], 0), dtype=torch.long) if codes is None else codes


def export(network: Network, graph: Graph, fanouts: Sequence[Fanout], file: Path) -> None:
    """Write ``network.onnx``.

    Inputs: ``rows.<depth>.<type>`` float32, ``codes.<depth>.<type>`` int64 where a type has any,
    ``source.<depth>.<relation>`` and ``target.<depth>.<relation>`` int64, ``edges.<depth>.<relation>`` float32 where
    edges have inputs. Outputs: ``embedding`` ``[seeds, hidden]`` and ``logit`` ``[seeds]``.
    """
    steps = Plan.of(graph, fanouts, (network.shape.node,)).names
    example = _example(network, steps)
    names = list(example)
    listed = copy.deepcopy(network).cpu().eval()
    layers: list[Any] = list(listed.layers)
    for layer in layers:
        if type(layer.convolution).listed is not Convolution.listed:
            layer.convolution.forward = layer.convolution.listed
    module = Exported(listed, names, steps).eval()
    dynamic = {name: {0: f"n_{place}"} for place, name in enumerate(names)}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter speaks of its own deprecations
        torch.onnx.export(
            module, tuple(example.values()), str(file), input_names=names, output_names=["embedding", "logit"],
            dynamic_axes=dynamic | {"embedding": {0: "seeds"}, "logit": {0: "seeds"}}, opset_version=OPSET,
            dynamo=False, do_constant_folding=True,
        )  # fmt: skip
    _clean(file)


def _example(network: Network, steps: list[tuple[int, str, str]]) -> dict[str, Tensor]:
    """Inputs of odd sizes, so that the exporter takes none for another."""
    shape, found = network.shape, {}
    present: dict[tuple[int, str], int] = {(0, shape.node): 3}
    for depth, relation, _ in steps:
        source = shape.relations[relation][0]
        present.setdefault((depth + 1, source), 5 + len(present))
    for (depth, node), count in sorted(present.items()):
        found[f"rows.{depth}.{node}"] = torch.rand(count, shape.inputs[node])
        if shape.embedded[node]:
            found[f"codes.{depth}.{node}"] = torch.zeros(count, len(shape.embedded[node]), dtype=torch.long)
    for place, (depth, relation, target) in enumerate(steps):
        source, _, width = shape.relations[relation]
        count = 11 + place
        found[f"source.{depth}.{relation}"] = torch.arange(count) % present[depth + 1, source]
        found[f"target.{depth}.{relation}"] = torch.arange(count) % present[depth, target]
        if width:
            found[f"edges.{depth}.{relation}"] = torch.rand(count, width)
    return found


def _clean(file: Path) -> None:
    """Sums over edges as the runtime has them fast, and nothing else but the network: the same bytes every time."""
    model = onnx.load(file)
    by_row(model)
    model.producer_name = model.producer_version = model.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    file.write_bytes(model.SerializeToString(deterministic=True))
