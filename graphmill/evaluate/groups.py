"""Which test examples belong together: those of one node are no independent witnesses."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graphmill.errors import UserError
from graphmill.explain import nearest
from graphmill.graph.store import Graph

NODE = "node"
"""The name of the grouping by the task's own node."""


def groups(graph: Graph, examples: pd.DataFrame, name: str) -> NDArray[np.int64]:
    """The group of every example: int64 ``[n]``. What links to nothing is a group of its own.

    Args:
        graph: the graph.
        examples: with the column ``node``.
        name: a link's column of the task's node, or ``node`` for the node itself.

    Raises:
        UserError: for a link that the node does not have.
    """
    node = examples["node"].to_numpy(np.int64)
    if name == NODE:
        return node
    links = {
        item.column: item.name
        for item in graph.schema.relations()
        if item.node == graph.task.node and not item.reversed
    }
    if name not in links:
        known = [NODE, *(str(column) for column in links)]
        told = f"evaluate.group: {graph.task.node!r} has no link {name!r}{nearest(name, known)}"
        raise UserError(f"{told}; known: {', '.join(known)}")
    return _linked(graph, links[name], node)


def _linked(graph: Graph, relation: str, node: NDArray[np.int64]) -> NDArray[np.int64]:
    """What each node links to by a relation that leads away from it."""
    adjacency = graph.relations[relation]
    sizes = np.diff(adjacency.indptr)
    target = np.full(graph.nodes[adjacency.source], -1, np.int64)
    target[adjacency.indices] = np.repeat(np.arange(len(sizes)), sizes)
    found = target[node]
    alone = found < 0
    found[alone] = len(sizes) + np.arange(alone.sum())
    return found
