"""From examples to tensors: sample the neighbourhoods, gather their inputs."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from graphmill.features.inputs import Inputs
from graphmill.graph.sampler import Block, Sampler

Rows = tuple[Tensor, Tensor]
"""Dense inputs ``[n, F]`` and codes ``[n, C]``."""


@dataclass(frozen=True)
class Edges:
    """A block as tensors: which source rows each target averages, and the mean of its edges' own inputs."""

    pointer: Tensor
    """int64 ``[targets + 1]``"""
    row: Tensor
    """int64 ``[edges]``"""
    mean: Tensor
    """float32 ``[targets, edge inputs]``"""


@dataclass(frozen=True)
class Batch:
    """Inputs by depth and type (depth 0: the seeds), and the edges between each depth and the next."""

    nodes: list[dict[str, Rows]]
    edges: list[dict[str, Edges]]


def assemble(inputs: Inputs, sampler: Sampler, node: str, ids: NDArray[np.int32], times: NDArray[np.int64]) -> Batch:
    """Sample and gather one batch."""
    sample = sampler.sample(node, ids, times)
    nodes = []
    for frontiers in sample.frontiers:
        gathered = {name: inputs.gather(name, part.ids, part.times) for name, part in frontiers.items()}
        nodes.append({name: (torch.from_numpy(a), torch.from_numpy(b)) for name, (a, b) in gathered.items()})
    edges = [{name: block_edges(inputs, name, block) for name, block in blocks.items()} for blocks in sample.blocks]
    return Batch(nodes, edges)


def block_edges(inputs: Inputs, relation: str, block: Block) -> Edges:
    """A block as tensors; the mean over edges is taken here, since a linear map of it follows."""
    pointer = torch.from_numpy(block.pointer)
    own = torch.from_numpy(inputs.gather_edges(relation, block))
    if own.shape[1]:
        order = torch.arange(len(own))
        own = embedding_bag(order, own, pointer, mode="mean", include_last_offset=True)
    else:
        own = own.new_zeros((len(pointer) - 1, 0))
    return Edges(pointer, torch.from_numpy(block.row), own)


def to(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device."""
    if device.type == "cpu":
        return batch
    nodes = [{name: (a.to(device), b.to(device)) for name, (a, b) in part.items()} for part in batch.nodes]
    edges = [
        {name: Edges(item.pointer.to(device), item.row.to(device), item.mean.to(device)) for name, item in part.items()}
        for part in batch.edges
    ]
    return Batch(nodes, edges)
