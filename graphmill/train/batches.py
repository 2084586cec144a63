"""From examples to tensors: sample the neighbourhoods, gather their inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from graphmill.features.inputs import Inputs
from graphmill.graph.hops import Workspace
from graphmill.graph.sample import Block, Frontier
from graphmill.graph.sampler import Sampler
from graphmill.train.aggregate import mean_of

Rows = tuple[Tensor, Tensor]
"""Dense inputs ``[n, F]`` and codes ``[n, C]``."""


@dataclass(frozen=True)
class Edges:
    """A block as tensors: the source rows that each target receives from, and its edges' own inputs."""

    pointer: Tensor
    """int32 ``[targets + 1]``"""
    row: Tensor
    """int32 ``[edges]``"""
    own: Tensor
    """float32 ``[edges, edge inputs]``; ``[0, edge inputs]`` where the network takes their means alone."""
    mean: Tensor
    """float32 ``[targets, edge inputs]``: the mean over each target's edges."""

    def average(self, rows: Tensor) -> Tensor:
        """Mean of each target's source rows, 0 where it has none: ``[targets, width]``."""
        return mean_of(rows, self.row, self.pointer)

    def index(self) -> Tensor:
        """Source rows above target rows, as message passing wants them: int64 ``[2, edges]``."""
        count = (self.pointer[1:] - self.pointer[:-1]).long()
        target = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
        return torch.stack([self.row.long(), target])

    def map(self, change: Callable[[Tensor], Tensor]) -> "Edges":
        """The same with every tensor changed."""
        return Edges(change(self.pointer), change(self.row), change(self.own), change(self.mean))


@dataclass(frozen=True)
class Batch:
    """Inputs by depth and type (depth 0: the seeds), and the edges between each depth and the next."""

    nodes: list[dict[str, Rows]]
    edges: list[dict[str, Edges]]

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The same with every tensor changed, such as moved to another device."""
        nodes = [{name: (change(a), change(b)) for name, (a, b) in part.items()} for part in self.nodes]
        return Batch(nodes, [{name: item.map(change) for name, item in part.items()} for part in self.edges])


def assemble(
    inputs: Inputs, sampler: Sampler, node: str, ids: Any, times: Any, apart: bool = False,
    workspace: Workspace | None = None, resident: frozenset[str] = frozenset(),
) -> Batch:  # fmt: skip
    """Sample and gather one batch.

    Args:
        inputs: what the network sees.
        sampler: how neighbourhoods are drawn.
        node: the seeds' type.
        ids: whole numbers ``[n]``.
        times: whole numbers ``[n]``.
        apart: whether the network wants every edge's own inputs, not their mean alone.
        workspace: where the sample is written; the batch is good until the next one there.
        resident: types whose rows stand on the device: for them, state alone is gathered, beside the ids.
    """
    sample = sampler.sample(node, ids, times, workspace)
    nodes = [
        {name: _rows(inputs, name, part, name in resident) for name, part in frontiers.items()}
        for frontiers in sample.frontiers
    ]
    edges = [
        {name: block_edges(inputs, name, block, apart) for name, block in blocks.items()} for blocks in sample.blocks
    ]
    return Batch(nodes, edges)


def _rows(inputs: Inputs, node: str, part: Frontier, resident: bool) -> Rows:
    if resident:
        return torch.from_numpy(inputs.state_of(node, part.ids, part.times)), torch.from_numpy(part.ids[:, None]).long()
    dense, codes = inputs.gather(node, part.ids, part.times)
    return torch.from_numpy(dense), torch.from_numpy(codes)


def block_edges(inputs: Inputs, relation: str, block: Block, apart: bool) -> Edges:
    """A block as tensors; the mean over edges is taken here, since a linear map of it follows."""
    pointer, row = torch.from_numpy(block.pointer), torch.from_numpy(block.row)
    own = torch.from_numpy(inputs.gather_edges(relation, block))
    mean = own.new_zeros((len(pointer) - 1, own.shape[1]))
    if own.shape[1] and len(own):
        mean = mean_of(own, torch.arange(len(own), dtype=torch.int32), pointer)
    return Edges(pointer, row, own if apart else own[:0], mean)
