"""The sampler as PyTorch Geometric's own, so that its loaders, convolutions and explainers work with it.

PyTorch Geometric's neighbour loaders need extensions that are not on PyPI; with this sampler they do not. Nodes
are listed depth by depth, as its ``trim_to_layer`` wants them: a node that is met at two depths stands twice.
"""

import dataclasses
import math
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    HeteroSamplerOutput,
    NegativeSampling,
    NodeSamplerInput,
    SamplerOutput,
)
from torch_geometric.sampler.neighbor_sampler import edge_sample

from graphmill.clock import ALWAYS
from graphmill.errors import UserError
from graphmill.features.inputs import Inputs
from graphmill.graph.sample import Sample
from graphmill.graph.sampler import Sampler
from graphmill.graph.store import Graph

EdgeType = tuple[str, str, str]
Seeds = dict[str, Tensor]
LATEST = np.iinfo(np.int64).max
"""The time of seeds of a graph without time: after everything."""


def edge_type(graph: Graph, relation: str) -> EdgeType:
    """A relation as PyTorch Geometric names it: source type, label, target type."""
    item = graph.relations[relation]
    return item.source, relation[len(item.source) + 1 : -len(item.target) - 1], item.target


def to_data(graph: Graph, inputs: Inputs | None = None) -> Data | HeteroData:
    """The graph as PyTorch Geometric's data, in memory; ``Data`` for one node type and one relation.

    Args:
        graph: the graph.
        inputs: gives every node its inputs that do not depend on the time, as ``x``.

    Returns:
        Data whose edges stand in the order of the adjacencies, with their times where they have some.
    """
    data = HeteroData()
    for node, count in graph.nodes.items():
        data[node].num_nodes = count
        if inputs is not None:
            data[node].x = torch.from_numpy(inputs.static(node, np.arange(count, dtype=np.int32))[0])
    for name, adjacency in graph.relations.items():
        target = np.repeat(np.arange(len(adjacency.indptr) - 1), np.diff(adjacency.indptr))
        store = data[edge_type(graph, name)]
        store.edge_index = torch.from_numpy(np.stack([np.asarray(adjacency.indices, np.int64), target]))
        if adjacency.time is not None:
            store.time = torch.from_numpy(np.array(adjacency.time, np.int64))
    return _alone(data) if _single(graph) else data


def _alone(data: HeteroData) -> Data:
    store = {key: value for part in data.stores for key, value in part.items()}
    return Data(**store)


def _single(graph: Graph) -> bool:
    return len(graph.nodes) == 1 and len(graph.relations) == 1


class PygSampler(BaseSampler):  # type: ignore[misc]
    """Samples for ``NodeLoader`` and ``LinkLoader``; the edges of a batch are places in the adjacencies.

    Args:
        sampler: what draws. With seeds of different times every seed keeps a tree of its own, told by ``batch``.
    """

    def __init__(self, sampler: Sampler) -> None:
        super().__init__()
        self.sampler = sampler
        self.apart = dataclasses.replace(sampler, disjoint=True)
        self.timed = any(item.time is not None for item in sampler.graph.relations.values())

    def sample_from_nodes(self, index: NodeSamplerInput, **_: Any) -> SamplerOutput | HeteroSamplerOutput:
        """Sample around seed nodes, as of ``index.time``.

        Raises:
            UserError: for seeds without a type or a time where there must be one, or that are not in the graph.
        """
        node = self._node(index.input_type)
        times = None if index.time is None else {node: index.time}
        found = self._sampled({node: index.node}, times)
        found.metadata = (index.input_id, index.time)
        return found

    def sample_from_edges(
        self, index: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None
    ) -> SamplerOutput | HeteroSamplerOutput:
        """Sample around both ends of seed links, and of links that are none, as of ``index.time``.

        An edge is part of nobody's neighbourhood at its own time. Ends of links that are none exist before it.

        Raises:
            UserError: as for nodes.
        """
        graph = self.sampler.graph
        single = index.input_type is None
        kinds = [self._node(None)] if single else [index.input_type[0], index.input_type[2]]
        born = {self._node(kind): self._born(kind) for kind in kinds} if index.time is not None else None
        if born is not None and neg_sampling is not None:
            _check_born(born, index.time)
        counts = graph.nodes[kinds[0]] if single else dict(graph.nodes)
        none = 0 if neg_sampling is None or neg_sampling.is_triplet() else neg_sampling.amount
        links = len(index.row) + math.ceil(len(index.row) * none)
        return edge_sample(
            index,
            partial(self._sampled_alone if single else self._sampled, links=links),
            counts,
            disjoint=index.time is not None,
            node_time=None if born is None else (born[kinds[0]] if single else born),
            neg_sampling=neg_sampling,
        )

    def _node(self, kind: str | None) -> str:
        if kind is not None:
            return kind
        if not _single(self.sampler.graph):
            raise UserError(f"name the seeds' type: {', '.join(self.sampler.graph.nodes)}")
        return next(iter(self.sampler.graph.nodes))

    def _born(self, node: str) -> Tensor:
        """From when on a node may be drawn: just after its own time, since what is there is there before."""
        time = np.array(self.sampler.graph.node_time(node), np.int64)
        return torch.from_numpy(np.where(time == ALWAYS, time, time + 1))

    def _sampled_alone(self, seed: Tensor, time: Tensor | None, links: int) -> SamplerOutput:
        node = self._node(None)
        found: SamplerOutput = self._sampled({node: seed}, None if time is None else {node: time}, links)
        return found

    def _sampled(self, seeds: Seeds, times: Seeds | None, links: int | None = None) -> Any:
        if times is None and self.timed:
            raise UserError(
                "the graph has times, so its seeds need them: give the loader input_time (or edge_label_time)"
            )
        pairs = {
            node: (ids.numpy(), np.full(len(ids), LATEST) if times is None else times[node].numpy())
            for node, ids in seeds.items()
        }
        sample = (self.sampler if times is None else self.apart).sample_types(pairs)
        output = _hetero(self.sampler.graph, sample, list(seeds), times is not None, links)
        return _homogeneous(output) if _single(self.sampler.graph) else output


def _check_born(born: Seeds, time: Tensor) -> None:
    """A link that is none needs ends that exist before it."""
    for node, since in born.items():
        if len(time) and (len(since) == 0 or int(time.min()) < int(since.min())):
            raise UserError(f"no {node} exists before the time {int(time.min())}, to be the end of a link that is none")


def _hetero(graph: Graph, sample: Sample, seeds: list[str], disjoint: bool, links: int | None) -> HeteroSamplerOutput:
    """A sample in PyTorch Geometric's form: nodes by type, depth after depth, and edges between their places."""
    counts = {node: [len(part[node].ids) if node in part else 0 for part in sample.frontiers] for node in graph.nodes}
    first = {node: np.concatenate([[0], np.cumsum(count)]) for node, count in counts.items()}
    empty = np.empty(0, np.int64)
    row, column, edge, drawn = {}, {}, {}, {}
    for name, adjacency in graph.relations.items():
        rows, columns, edges = [empty], [empty], [empty]
        for depth, blocks in enumerate(sample.blocks):
            if name in blocks:
                block = blocks[name]
                targets = np.repeat(np.arange(len(block.pointer) - 1), np.diff(block.pointer))
                rows.append(block.row + first[adjacency.source][depth + 1])
                columns.append(targets + first[adjacency.target][depth])
                edges.append(block.position)
        kind = edge_type(graph, name)
        row[kind], column[kind], edge[kind] = (_tensor(parts) for parts in (rows, columns, edges))
        drawn[kind] = [len(blocks[name].row) if name in blocks else 0 for blocks in sample.blocks]
    ids = {node: _tensor([empty, *(part[node].ids for part in sample.frontiers if node in part)]) for node in counts}
    batch = _owners(graph, sample, seeds, links) if disjoint else None
    return HeteroSamplerOutput(ids, row, column, edge, batch, counts, drawn)


def _owners(graph: Graph, sample: Sample, seeds: list[str], links: int | None) -> dict[str, Tensor]:
    """The seed in whose tree each node stands; seeds are counted on from type to type.

    Both ends of one of ``links`` count as the same seed. ``edge_sample`` takes the remainder by the number of those
    that are links, which tells second ends wrongly where the number of all is no multiple of it.
    """
    owner: dict[str, NDArray[np.int64]] = {}
    count = 0
    for node in seeds:
        owner[node] = np.arange(count, count + len(sample.frontiers[0][node].ids))
        count += len(owner[node])
        if links is not None:
            owner[node] %= links
    found = {node: [owner.get(node, np.empty(0, np.int64))] for node in graph.nodes}
    for blocks in sample.blocks:
        parts: dict[str, list[NDArray[np.int64]]] = {}
        for name, block in blocks.items():
            item = graph.relations[name]
            parts.setdefault(item.source, []).append(np.repeat(owner[item.target], np.diff(block.pointer)))
        owner = {node: np.concatenate(part) for node, part in parts.items()}
        for node, part in owner.items():
            found[node].append(part)
    return {node: _tensor(part) for node, part in found.items()}


def _homogeneous(output: HeteroSamplerOutput) -> SamplerOutput:
    node, kind = next(iter(output.node)), next(iter(output.row))
    return SamplerOutput(
        output.node[node], output.row[kind], output.col[kind], output.edge[kind],
        None if output.batch is None else output.batch[node],
        output.num_sampled_nodes[node], output.num_sampled_edges[kind],
    )  # fmt: skip


def _tensor(parts: Any) -> Tensor:
    return torch.from_numpy(np.concatenate(parts).astype(np.int64))
