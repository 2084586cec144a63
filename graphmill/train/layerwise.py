"""Full-graph inference, layer by layer: every node once a layer, with all its neighbours, as of one moment.

It gives what message passing over the full neighbourhood gives, at the cost of one pass over the edges a layer.
Memory is bounded by a parameter: hidden rows that do not fit stand in a file, and targets are taken in runs.
"""

import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphmill.features.inputs import Inputs
from graphmill.graph.kernels import forget, merge
from graphmill.graph.neighbours import all_before
from graphmill.graph.runs import runs
from graphmill.progress import track
from graphmill.train.batches import Edges, block_edges
from graphmill.train.network import Network

MEMORY = 2 << 30
"""Bytes, where the caller does not say."""
RUN = 50_000
"""Targets and edges taken at once, at most: their rows stay in the processor's cache."""
PER_ROW = 16
"""Floats of working memory that a target or an edge needs for each column, at most: attention keeps several."""

Hidden = dict[str, Tensor]


def embeddings(network: Network, inputs: Inputs, moment: int, memory: int = MEMORY) -> Tensor:
    """Embeddings of all nodes of the task's type as of ``moment``: float32 ``[N, width]``, on the CPU.

    Args:
        network: any kind.
        inputs: what the network sees.
        moment: clock units.
        memory: bytes for hidden rows and working memory; beyond it hidden rows stand in an unnamed file.
    """
    for hidden in _layers(network, inputs, [network.shape.node], len(network.layers), moment, memory):
        last = hidden
    return last[network.shape.node]


def senders(
    network: Network, inputs: Inputs, nodes: list[str], moment: int, memory: int = MEMORY
) -> Iterator[tuple[int, str, NDArray[np.float32]]]:
    """Hidden rows of what sends to the task's nodes, after each layer but the last: what the next layer reads of them.

    Args:
        network: any kind.
        inputs: what the network sees.
        nodes: the types whose rows are wanted.
        moment: clock units.
        memory: bytes, as for ``embeddings``.

    Yields:
        Layer, type, and float32 ``[N, width]`` of all nodes of that type.
    """
    after = _layers(network, inputs, nodes, len(network.layers) - 1, moment, memory)
    next(after)  # before the first layer
    for layer, hidden in enumerate(after):
        for node in nodes:
            yield layer, node, hidden[node].numpy()


@torch.inference_mode()
def _layers(
    network: Network, inputs: Inputs, nodes: list[str], count: int, moment: int, memory: int
) -> Iterator[Hidden]:
    """Hidden rows before the first layer and after each of the first ``count``, of all that ``nodes`` need at last."""
    network.eval()
    needed = _needed(network, nodes, count)
    hidden: Hidden = {node: _encode(network, inputs, node, moment, memory) for node in needed[0]}
    yield hidden
    layers: list[Any] = list(network.layers)
    for place, layer in enumerate(layers[:count]):
        sent = _sent(network, layer, hidden, needed[place + 1], memory)
        hidden = {node: _next(network, layer, inputs, node, hidden, sent, moment, memory) for node in needed[place + 1]}
        yield hidden


def _needed(network: Network, nodes: list[str], count: int) -> list[list[str]]:
    """The node types whose rows are needed before the first layer, after it, and so on up to ``nodes``."""
    needed = [nodes]
    for _ in range(count):
        sources = [source for source, target, _ in network.shape.relations.values() if target in needed[0]]
        needed.insert(0, [node for node in network.shape.inputs if node in (*needed[0], *sources)])
    return needed


def _rows(count: int, width: int, memory: int) -> Tensor:
    """Room for hidden rows: in memory up to a quarter of what is allowed, else in a file that is already unlinked."""
    if count * width * 4 <= memory // 4:
        return torch.empty((count, width))
    with tempfile.TemporaryFile() as file:
        return torch.from_numpy(np.memmap(file, np.float32, "w+", shape=(count, width)))


def _runs(weight: NDArray[np.int64], width: int, memory: int) -> Iterator[tuple[int, int]]:
    """Runs of targets whose rows and edges fit into the cache and half the memory, at least one target each.

    Args:
        weight: int64 ``[targets + 1]``: edges before each target.
        width: columns of a row.
        memory: bytes.
    """
    limit = min(max(memory // 2 // (4 * PER_ROW * width), 1), RUN)
    return runs(weight + np.arange(len(weight)), limit)


def _encode(network: Network, inputs: Inputs, node: str, moment: int, memory: int) -> Tensor:
    count = inputs.graph.nodes[node]
    hidden = _rows(count, network.shape.hidden, memory)
    for first, last in _runs(np.zeros(count + 1, np.int64), max(len(inputs.names(node)), network.shape.hidden), memory):
        ids = np.arange(first, last, dtype=np.int32)
        dense, codes = inputs.gather(node, ids, np.full(len(ids), moment))
        hidden[first:last] = network.encode(node, (torch.from_numpy(dense), torch.from_numpy(codes)))
    return hidden


def _sent(network: Network, layer: Any, hidden: Hidden, wanted: list[str], memory: int) -> Hidden:
    """What travels along each relation: the hidden rows themselves, or their narrower projection, made once."""
    sent = {}
    for name, (source, target, _) in network.shape.relations.items():
        if target not in wanted:
            continue
        sent[name] = hidden[source]
        if layer.convolution.late:
            sent[name] = _projected(layer.convolution, name, hidden[source], memory)
    return sent


def _projected(convolution: Any, relation: str, rows: Tensor, memory: int) -> Tensor:
    result = _rows(len(rows), convolution.send(relation, rows[:0]).shape[1], memory)
    for first, last in _runs(np.zeros(len(rows) + 1, np.int64), rows.shape[1], memory):
        result[first:last] = convolution.send(relation, rows[first:last])
    return result


def _next(
    network: Network, layer: Any, inputs: Inputs, node: str, hidden: Hidden, sent: Hidden, moment: int, memory: int
) -> Tensor:
    """Rows of all nodes of a type after a layer."""
    names = [name for name in inputs.graph.incoming(node) if name in network.shape.relations]
    relations = inputs.graph.relations
    weight = np.zeros(inputs.graph.nodes[node] + 1, np.int64)
    for name in names:
        weight += relations[name].indptr
    convolution = layer.convolution
    slots = {name: np.zeros(len(sent[name]), np.int32) for name in names if convolution.compact}
    result = None
    for first, last in track(list(_runs(weight, hidden[node].shape[1], memory)), f"inference {node}"):
        edges = {
            name: block_edges(inputs, name, all_before(relations[name], first, last, moment), convolution.apart)
            for name in names
        }
        near = {name: sent[name] for name in names}
        for name in slots:
            near[name], edges[name] = _compact(sent[name], edges[name], slots[name])
        rows = layer({node: hidden[node][first:last]}, near, edges)[node]
        result = _rows(len(weight) - 1, rows.shape[1], memory) if result is None else result
        result[first:last] = rows
    return hidden[node] if result is None else result


def _compact(rows: Tensor, edges: Edges, slots: NDArray[np.int32]) -> tuple[Tensor, Edges]:
    """Just the rows that the edges name, and edges that name them so."""
    row = edges.row.numpy()
    distinct = np.empty(len(row), np.int32)
    distinct = distinct[: merge(row, slots, distinct, 0)]
    forget(slots, distinct)
    return rows[torch.from_numpy(distinct).long()], edges
