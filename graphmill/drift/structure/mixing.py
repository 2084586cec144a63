"""Which groups the edges join. Two communities that grow into one are seen here, not in modularity."""

from typing import Any

import numpy as np
from numba import njit

from graphmill.drift.source import Floats, rounded
from graphmill.drift.structure.edges import Edges
from graphmill.drift.structure.groups import Groups

Values = dict[str, Any]


def mixing(edges: Edges, source: Groups, target: Groups) -> Values | None:
    """The mixing matrix: the share of the edges from each group to each; None without an edge between known groups.

    Returns:
        ``by``, ``groups`` (their names at both ends) and ``shares``. Of one node type without direction it is
        symmetric.
    """
    counts = np.zeros((len(source.names), len(target.names)))
    count_groups(edges.indptr, edges.indices, source.codes, target.codes, counts)
    if counts.sum() == 0:
        return None
    if edges.homogeneous and not edges.directed:
        counts = (counts + counts.T) / 2
    shares = [[float(f"{share:.4g}") for share in row] for row in counts / counts.sum()]
    return {"by": [source.by, target.by], "groups": [source.names, target.names], "shares": shares}


def homophily(shares: Floats) -> tuple[float, float | None]:
    """Share of the edges that stay within their group, and how far it is above chance.

    The second is Newman's coefficient (2003): 0 for a random graph of the same group sizes, 1 when no edge leaves its
    group. It does not move when a group only grows; None where all edges are of one group.

    Args:
        shares: float ``[groups, groups]``, summing to 1.
    """
    within = float(np.trace(shares))
    chance = float(shares.sum(axis=0) @ shares.sum(axis=1))
    return within, (within - chance) / (1 - chance) if chance < 1 - 1e-9 else None


def shift(now: Values, before: Values) -> float | None:
    """Total variation between two mixing matrices: 0 to 1; None where their groups are not the same."""
    if (now["by"], now["groups"]) != (before["by"], before["groups"]):
        return None
    return rounded(float(np.abs(np.array(now["shares"]) - np.array(before["shares"])).sum() / 2))


def assortativity(edges: Edges) -> float | None:
    """Correlation of the degrees at both ends of an edge (Newman, 2002); None where all are the same."""
    degree = (edges.sent + edges.received if edges.directed else edges.received).astype(np.float64)
    count = edges.count
    mean, square = degree @ degree / (2 * count), np.sum(degree**3) / (2 * count)
    if not edges.directed:  # a loop adds one to its degree there, yet has two ends
        loops = edges.targets[edges.indices == edges.targets]
        mean += degree[loops].sum() / (2 * count)
        square += (degree[loops] ** 2).sum() / (2 * count)
    variance = square - mean**2
    if variance <= 1e-9 * square:
        return None
    return float((product(edges.indptr, edges.indices, degree) / count - mean**2) / variance)


@njit(cache=True, nogil=True)
def count_groups(indptr: Any, indices: Any, source: Any, target: Any, counts: Any) -> None:
    """Count the edges by the groups of their ends, without those of no group."""
    for node in range(len(indptr) - 1):
        if target[node] >= 0:
            for edge in range(indptr[node], indptr[node + 1]):
                if source[indices[edge]] >= 0:
                    counts[source[indices[edge]], target[node]] += 1


@njit(cache=True, nogil=True)
def product(indptr: Any, indices: Any, degree: Any) -> float:
    """Sum over the edges of the product of the degrees at both ends."""
    total = 0.0
    for node in range(len(indptr) - 1):
        for edge in range(indptr[node], indptr[node + 1]):
            total += degree[indices[edge]] * degree[node]
    return total
