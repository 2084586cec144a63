"""The whole graph as one undirected graph of what was there before a moment, held as neighbour lists alone.

A general sparse matrix would take the edges several times over: as lists, with a one for each, and transposed.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graphmill.graph.prefetch import AHEAD, prefetch
from graphmill.graph.store import Graph

SHORT = 24
"""Rows of up to so many neighbours are sorted by insertion."""


class Pairs(NamedTuple):
    """Neighbours of every node, each once and ascending; no node is its own."""

    indptr: NDArray[np.int64]
    """``[present + 1]``"""
    neighbours: NDArray[np.int32]
    """``[2 * pairs]``"""


def undirected(graph: Graph, time: int, born: NDArray[np.int64], offsets: dict[str, int]) -> Pairs:
    """All node types and relations before ``time``, among the nodes that are there by then.

    Those that are not there yet must not even be counted: PageRank's restart would tell of them.

    Args:
        graph: the graph.
        time: the moment.
        born: int64 ``[N]``: from when each node of the whole graph is there.
        offsets: where each type's nodes begin among them.
    """
    present = born < time
    rank = np.where(present, np.cumsum(present) - 1, -1).astype(np.int32)
    parts = []
    for relation in graph.schema.relations():
        if relation.reversed:
            continue
        adjacency = graph.relations[relation.name]
        first, last = offsets[adjacency.source], offsets[adjacency.target]
        ends = rank[first : first + graph.nodes[adjacency.source]], rank[last : last + graph.nodes[adjacency.target]]
        parts.append((adjacency.indptr, adjacency.indices, adjacency.times(), time, *ends))
    indptr = np.zeros(int(present.sum()) + 1, np.int64)
    for part in parts:
        count_pairs(*part, indptr)
    np.cumsum(indptr, out=indptr)
    neighbours, free = np.empty(indptr[-1], np.int32), indptr[:-1].copy()
    for part in parts:
        fill_pairs(*part, free, neighbours)
    del free
    return Pairs(indptr, neighbours[: once(indptr, neighbours)])


@njit(cache=True, nogil=True)
def count_pairs(indptr: Any, indices: Any, clock: Any, time: int, source: Any, target: Any, count: Any) -> None:
    """Add what each end of every edge before ``time`` gets to ``count[end + 1]``; -1 is no end, a loop no pair."""
    for node in range(len(target)):
        for edge in range(indptr[node], indptr[node + 1]):
            if len(clock) and clock[edge] >= time:
                break
            if edge + AHEAD < len(indices):
                prefetch(source, indices[edge + AHEAD])
            one, other = source[indices[edge]], target[node]
            if one >= 0 and other >= 0 and one != other:
                count[one + 1] += 1
                count[other + 1] += 1


@njit(cache=True, nogil=True)
def fill_pairs(
    indptr: Any, indices: Any, clock: Any, time: int, source: Any, target: Any, free: Any, neighbours: Any
) -> None:
    """Write each end into the other's row, at ``free``."""
    for node in range(len(target)):
        for edge in range(indptr[node], indptr[node + 1]):
            if len(clock) and clock[edge] >= time:
                break
            if edge + AHEAD < len(indices):
                prefetch(source, indices[edge + AHEAD])
            one, other = source[indices[edge]], target[node]
            if one >= 0 and other >= 0 and one != other:
                neighbours[free[one]] = other
                neighbours[free[other]] = one
                free[one] += 1
                free[other] += 1


@njit(cache=True, nogil=True)
def _sort(values: Any, first: int, last: int) -> None:
    """Sort ``values[first:last]`` in place; most rows are short, and sorted already as ids follow the time."""
    if last - first > SHORT:
        for place in range(first + 1, last):
            if values[place] < values[place - 1]:
                values[first:last].sort()
                return
        return
    for place in range(first + 1, last):
        value, at = values[place], place
        while at > first and values[at - 1] > value:
            values[at] = values[at - 1]
            at -= 1
        values[at] = value


@njit(cache=True, nogil=True)
def once(indptr: Any, neighbours: Any) -> int:
    """Sort every row and drop what it repeats, in place; returns how many are left."""
    kept = np.int64(0)
    first = indptr[0]
    for row in range(len(indptr) - 1):
        last = indptr[row + 1]
        _sort(neighbours, first, last)
        begin = kept
        for place in range(first, last):
            if kept == begin or neighbours[kept - 1] != neighbours[place]:
                neighbours[kept] = neighbours[place]
                kept += 1
        indptr[row + 1] = kept
        first = last
    return int(kept)
