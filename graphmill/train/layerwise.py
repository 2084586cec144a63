"""Full-graph inference, layer by layer: every node once a layer, with all its neighbours, as of one moment.

It gives what message passing over the full neighbourhood gives, at the cost of one pass over the edges a layer;
memory is bounded by the hidden rows of all nodes and one chunk of targets.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphmill.features.inputs import Inputs
from graphmill.graph.adjacency import Adjacency
from graphmill.graph.sampler import ALL, Block, Frontier, Sampler
from graphmill.train.batches import block_edges
from graphmill.train.network import Network

CHUNK = 16_384


def embeddings(network: Network, inputs: Inputs, moment: int, chunk: int = CHUNK) -> Tensor:
    """Embeddings of all nodes of the task's type as of ``moment``: float32 ``[N, hidden]``, on the CPU."""
    network.eval()
    with torch.inference_mode():
        hidden = {node: _encode(network, inputs, node, moment, chunk) for node in inputs.graph.nodes}
        for place in range(len(network.layers)):
            last = place == len(network.layers) - 1
            wanted = [network.shape.node] if last else list(inputs.graph.nodes)
            hidden = {node: _layer(network, place, inputs, node, hidden, moment, chunk) for node in wanted}
    return hidden[network.shape.node]


def _chunks(count: int, chunk: int) -> list[NDArray[np.int32]]:
    return [np.arange(first, min(first + chunk, count), dtype=np.int32) for first in range(0, count, chunk)]


def _encode(network: Network, inputs: Inputs, node: str, moment: int, chunk: int) -> Tensor:
    hidden = torch.empty((inputs.graph.nodes[node], network.shape.hidden))
    for ids in _chunks(len(hidden), chunk):
        dense, codes = inputs.gather(node, ids, np.full(len(ids), moment))
        rows = network.encode(node, (torch.from_numpy(dense), torch.from_numpy(codes)))
        hidden[ids[0] : ids[-1] + 1] = rows
    return hidden


def _layer(
    network: Network, place: int, inputs: Inputs, node: str, hidden: dict[str, Tensor], moment: int, chunk: int
) -> Tensor:
    graph = inputs.graph
    sampler = Sampler(graph, [ALL])
    result = torch.empty_like(hidden[node])
    for ids in _chunks(len(result), chunk):
        frontier = Frontier(ids, np.full(len(ids), moment))
        messages = []
        for name in graph.incoming(node):
            block = sampler.edges_of(name, frontier, 0, ALL)
            block = Block(block.pointer, _sources(graph.relations[name], block), block.edge_id, block.age)
            messages.append((name, hidden[graph.relations[name].source], block_edges(inputs, name, block)))
        own = hidden[node][ids[0] : ids[-1] + 1]
        result[ids[0] : ids[-1] + 1] = network.layers[place](node, own, messages)
    return result


def _sources(adjacency: Adjacency, block: Block) -> NDArray[np.int64]:
    """Source nodes of a block that still holds positions in the adjacency."""
    return adjacency.indices[block.row].astype(np.int64)
