"""The neighbourhood as plain columns, for trees: means over sampled neighbours of one and two hops."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graphmill.features.inputs import Inputs
from graphmill.graph.mean import means
from graphmill.graph.sample import Block, Sample
from graphmill.graph.sampler import Sampler
from graphmill.progress import track

Matrix = NDArray[np.float32]
Described = dict[tuple[int, str], tuple[Matrix, list[str]]]


def describe(name: str, inputs: Inputs, examples: pd.DataFrame, fanouts: list[int], recent: bool, seed: int) -> Matrix:
    """The columns that a control model sees: float32 ``[n, columns]``."""
    if name == "features_only":
        return own(inputs, examples)[0]
    return aggregates(inputs, examples, fanouts, recent, seed)[0]


def own(inputs: Inputs, examples: pd.DataFrame) -> tuple[Matrix, list[str]]:
    """The node's own columns, without anything that others did: float32 ``[n, F]`` and their names."""
    node = inputs.graph.task.node
    ids = examples["node"].to_numpy(np.int32)
    raw = np.asarray(inputs.features.nodes[node][ids])
    dense, codes = inputs.nodes[node](raw)
    names = inputs.nodes[node].names + [column for column, _ in inputs.nodes[node].embedded]
    return np.concatenate([dense, codes.astype(np.float32)], axis=1), names


def aggregates(
    inputs: Inputs, examples: pd.DataFrame, fanouts: list[int], recent: bool, seed: int, size: int = 4_096
) -> tuple[Matrix, list[str]]:
    """Own columns and state, and for every path of relations the mean of what stands at its end.

    Returns:
        float32 ``[n, columns]`` and the names, such as ``payment.account_id.account < age``.
    """
    sampler = Sampler(inputs.graph, fanouts, recent, seed)
    ids, times = examples["node"].to_numpy(np.int32), examples["time"].to_numpy(np.int64)
    result = np.empty((len(ids), 0), np.float32)
    names: list[str] = []
    for chosen in track(_groups(times, size), "neighbourhoods"):
        sample = sampler.sample(inputs.graph.task.node, ids[chosen], times[chosen])
        matrix, names = _describe(inputs, sample, 0, inputs.graph.task.node, {})
        if result.shape[1] != len(names):
            result = np.empty((len(ids), len(names)), np.float32)
        result[chosen] = matrix
    return result, names


def _groups(times: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Batches of places, at most ``size``: those of one moment together, since they share their neighbours."""
    moments, counts = np.unique(times, return_counts=True)
    order = np.argsort(times, kind="stable")
    if len(moments) <= len(times) / 64:
        moment = np.split(order, np.cumsum(counts)[:-1])
        return [part[first : first + size] for part in moment for first in range(0, len(part), size)]
    return [order[first : first + size] for first in range(0, len(order), size)]


def _describe(inputs: Inputs, sample: Sample, depth: int, node: str, done: Described) -> tuple[Matrix, list[str]]:
    """Columns of every node of a type at a depth: its own, then the means over each relation into it."""
    frontier = sample.frontiers[depth][node]
    dense, codes = inputs.gather(node, frontier.ids, frontier.times)
    parts = [np.concatenate([dense, codes.astype(np.float32)], axis=1)]
    names = inputs.names(node) + [column for column, _ in inputs.embedded(node)]
    if depth == len(sample.blocks):
        return parts[0], names
    for relation in inputs.graph.incoming(node):
        block, source = sample.blocks[depth][relation], inputs.graph.relations[relation].source
        if (depth + 1, source) not in done:
            done[depth + 1, source] = _describe(inputs, sample, depth + 1, source, done)
        matrix, columns = done[depth + 1, source]
        parts += [_mean(block, matrix, block.row), _mean(block, inputs.gather_edges(relation, block), None)]
        names = names + [
            f"{relation} < {name}" for name in columns + [f"edge {x}" for x in inputs.edge_names(relation)]
        ]
    return np.concatenate(parts, axis=1), names


def _mean(block: Block, matrix: Matrix, row: NDArray[np.int32] | None) -> Matrix:
    """Mean of each target's rows, NaN where it has none: trees know what to do with that."""
    place = np.arange(len(matrix), dtype=np.int32) if row is None else row
    found = np.empty((len(block.pointer) - 1, matrix.shape[1]), np.float32)
    means(matrix, place, block.pointer, np.nan, found)
    return found
