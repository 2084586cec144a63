"""How the graph hangs together: components and cores."""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from graphmill.drift.source import rounded
from graphmill.features.centrality import core_numbers
from graphmill.features.pairs import Pairs

Values = dict[str, float | None]


def values(pairs: Pairs) -> Values:
    """Number of components, share of the nodes in the largest, mean and largest core number.

    Nodes without an edge are in no component: ``isolated_share`` tells of them.
    """
    count = len(pairs.indptr) - 1
    if count == 0:
        return {}
    components, giant = connected(pairs)
    core = core_numbers(*pairs)
    return {
        "components": components,
        "giant_share": rounded(giant / count),
        "mean_core": rounded(float(core.mean())),
        "largest_core": int(core.max()),
    }


def connected(pairs: Pairs) -> tuple[int, int]:
    """Number of components, and of the nodes of the largest."""
    count = len(pairs.indptr) - 1
    ones = np.ones(len(pairs.neighbours), np.float64)
    matrix = csr_array((ones, pairs.neighbours, pairs.indptr), shape=(count, count))
    # in a symmetric matrix the strong components are the weak ones, and need no transposed copy
    components, label = connected_components(matrix, directed=True, connection="strong")
    return int(components), int(np.bincount(label).max())
