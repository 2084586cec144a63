"""PageRank and core numbers from neighbour lists alone.

scikit-network's need the edges as matrices of 64-bit numbers, several of them, and a heap of all nodes; on a graph of
a hundred million edges that is most of the memory and time of the stage. A test holds these equal to them.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graphmill.features.pairs import Pairs
from graphmill.graph.prefetch import AHEAD, prefetch

DAMPING, TOLERANCE, ROUNDS = 0.85, 1e-6, 20


def pagerank(pairs: Pairs) -> NDArray[np.float64]:
    """PageRank by power iteration, restarting anywhere (Page et al., 1999): float64 ``[present]``, summing to 1."""
    degree = np.diff(pairs.indptr)
    linked = degree > 0
    restart = (1.0 - DAMPING * linked) / len(degree)
    scores = restart
    for _ in range(ROUNDS):
        share = np.divide(DAMPING * scores, degree, out=np.zeros(len(degree)), where=linked)
        found = restart * scores.sum()
        receive(*pairs, share, found)
        found /= found.sum()
        if np.abs(found - scores).sum() < TOLERANCE:
            break
        scores = found
    return np.asarray(scores / scores.sum())


@njit(cache=True, nogil=True)
def receive(indptr: Any, neighbours: Any, share: Any, found: Any) -> None:
    """Add to each node of ``found`` the shares of its neighbours."""
    for node in range(len(found)):
        total = 0.0
        for place in range(indptr[node], indptr[node + 1]):
            if place + AHEAD < len(neighbours):
                prefetch(share, neighbours[place + AHEAD])
            total += share[neighbours[place]]
        found[node] += total


@njit(cache=True, nogil=True)
def core_numbers(indptr: Any, neighbours: Any) -> Any:
    """Core numbers in time linear in the edges (Batagelj and Zaversnik, 2003): int32 ``[present]``.

    Nodes are peeled off in the order of the degree that is left to them; ``begin[d]`` is where those of degree d
    begin in ``order``.
    """
    count = len(indptr) - 1
    core, place, order = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.int32)
    for node in range(count):
        core[node] = indptr[node + 1] - indptr[node]
    begin = np.zeros(core.max() + 2, np.int64)
    for node in range(count):
        begin[core[node] + 1] += 1
    begin = np.cumsum(begin)
    free = begin.copy()
    for node in range(count):
        place[node] = free[core[node]]
        order[place[node]] = node
        free[core[node]] += 1
    for turn in range(count):
        node = order[turn]
        for edge in range(indptr[node], indptr[node + 1]):
            other = neighbours[edge]
            if core[other] > core[node]:
                # to the front of those of its degree, which from now on begin behind it
                front = begin[core[other]]
                first = order[front]
                order[place[other]], place[first] = first, place[other]
                order[front], place[other] = other, front
                begin[core[other]] += 1
                core[other] -= 1
    return core
