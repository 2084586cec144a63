"""Single ties: are they answered, are they repeated, do a node's neighbours know one another?"""

from typing import Any

import numpy as np
from numba import njit

from graphmill.drift.source import rounded
from graphmill.drift.structure.edges import Edges
from graphmill.features.pairs import Pairs, once
from graphmill.graph.adjacency import lower_bound

WEDGES = 100_000

Values = dict[str, float | None]


def values(edges: Edges) -> Values:
    """Reciprocity, and the shares of loops and of edges that repeat another one."""
    if edges.count == 0:
        return {}
    distinct, loops = _distinct(edges)
    found: Values = {"repeated_share": rounded(1 - distinct / edges.count)}
    if not edges.homogeneous:
        return found
    found["loop_share"] = rounded(float(np.mean(edges.indices == edges.targets)))
    apart, met = distinct - loops, len(edges.pairs.neighbours) // 2
    if edges.directed and apart:
        found["reciprocity"] = rounded(2 * (apart - met) / apart)
    return found


def _distinct(edges: Edges) -> tuple[int, int]:
    """Number of different edges, and of loops among them."""
    indptr, indices = edges.indptr.copy(), edges.indices.copy()
    distinct = once(indptr, indices)
    loops = edges.targets[edges.indices == edges.targets] if edges.homogeneous else []
    return distinct, len(np.unique(loops))


def clustering(pairs: Pairs, wedges: int = WEDGES, seed: int = 0) -> tuple[float | None, float]:
    """How often two neighbours of a node are neighbours themselves, and the variance of this estimate.

    All wedges are equally likely to be drawn (Schank and Wagner, 2005), so this is the transitivity of the graph.

    Args:
        pairs: the graph.
        wedges: how many are drawn.
        seed: of the draw.

    Returns:
        None and 0 where no node has two neighbours.
    """
    degree = np.diff(pairs.indptr)
    border = np.cumsum(degree * (degree - 1.0))
    if len(border) == 0 or border[-1] == 0:
        return None, 0.0
    state = np.random.default_rng(seed)
    centre = np.searchsorted(border, state.random(wedges) * border[-1], side="right")
    size = degree[centre]
    one = (state.random(wedges) * size).astype(np.int64)
    other = (state.random(wedges) * (size - 1)).astype(np.int64)
    other += other >= one
    ends = pairs.neighbours[pairs.indptr[centre] + one], pairs.neighbours[pairs.indptr[centre] + other]
    share = closed(*pairs, *ends) / wedges
    return share, share * (1 - share) / wedges


@njit(cache=True, nogil=True)
def closed(indptr: Any, neighbours: Any, one: Any, other: Any) -> int:
    """How many of the pairs are neighbours."""
    count = 0
    for place in range(len(one)):
        first, last = indptr[one[place]], indptr[one[place] + 1]
        found = lower_bound(neighbours, first, last, other[place])
        count += found < last and neighbours[found] == other[place]
    return count
